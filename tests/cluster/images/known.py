"""Images, facts of them and what was asked of a fake engine."""

from fakes.commands import Commands

from bertjob.rundir.image_contents import NEEDED

NGC = "nvcr.io/nvidia/pytorch:24.11-py3"
SHA = "sha256:" + "ab" * 32
FACTS = {"python": "3.12.3", "packages": dict.fromkeys(NEEDED, "1"), "mpi": {"family": "openmpi", "version": "4.1.7"}}


def one_call(fakes: Commands, name: str) -> list[str]:
    """The words of the only call, of which one is a program of many lines."""
    return (fakes.folder / f"{name}.calls").read_text().removesuffix("\0\n").split("\0")
