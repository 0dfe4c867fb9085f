"""What an image holds, looked at from inside."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from click.testing import CliRunner
from fakes.commands import Commands
from known import FACTS, SHA, one_call
from planned import HERE, LOCAL, with_

from bertjob.cli.main import cli
from bertjob.cluster.images import engine, inside
from bertjob.cluster.images.seen import recall
from bertjob.cluster.runs import create
from bertjob.config.job import Image, Job, Library
from bertjob.config.site import Mount
from bertjob.errors import PreflightError
from bertjob.launch.plan import plan
from bertjob.rundir.image_contents import NEEDED, ImageFacts
from bertjob.rundir.provenance import Provenance
from bertjob.version import __version__


def test_check_tells_what_is_missing_by_its_exit_code(fakes: Commands) -> None:
    check = ["image", "check", "b:1", "--engine", "podman"]
    fakes.make("podman", stdout=f"a banner of the image\n{json.dumps(FACTS)}\n")
    good = CliRunner().invoke(cli, check)
    assert good.exit_code == 0, good.output
    assert "Open MPI 4.1.7, speaks no PMI" in good.output
    words = one_call(fakes, "podman")
    assert words[:2] == ["run", "--rm"]
    assert words[words.index("b:1") + 1 : words.index("b:1") + 4] == ["python3", "-s", "-c"]
    old = {**FACTS, "python": "3.10.2", "broken": {"torch": "ImportError: libcudart.so.12"}}
    fakes.make("podman", stdout=json.dumps(old))
    bad = CliRunner().invoke(cli, [*check, "--json"])
    assert bad.exit_code == 1
    assert json.loads(bad.output)["missing"] == [
        "Python is 3.10.2, 3.11 or newer is wanted",
        "torch: ImportError: libcudart.so.12",
    ]


def test_the_program_inside_stands_alone_and_tells_the_truth(tmp_path: Path) -> None:
    names = ["msgspec", "PyYAML", "no-such-package"]
    command = [sys.executable, "-I", "-c", Path(inside.__file__).read_text(), *names]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    facts = msgspec.json.decode(done.stdout.splitlines()[-1], type=ImageFacts)
    assert facts.python == ".".join(map(str, sys.version_info[:3]))
    assert set(facts.packages) == {"msgspec", "PyYAML"}
    assert facts.broken == {}


def test_all_that_the_program_inside_says_is_read(fakes: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands alone and cannot import ImageFacts: the names of its keys are the only copy."""
    gpus = SimpleNamespace(
        nccl=SimpleNamespace(version=lambda: (2, 27, 5)),
        get_arch_list=lambda: ["sm_90"],
        is_available=lambda: True,
        device_count=lambda: 1,
        get_device_name=lambda index: "NVIDIA H200",
    )
    torch = SimpleNamespace(version=SimpleNamespace(cuda="12.8", hip="6.4"), cuda=gpus)
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setattr(inside, "_LIBRARY", "print('Open MPI v4.1.7')")
    said = {
        "python": "3.12.3",
        "prefix": "/usr",
        "packages": {},
        "broken": {},
        **inside.torch_facts(),
        **inside.mpi_facts(),
    }
    assert set(said) == set(ImageFacts.__struct_fields__)
    facts = msgspec.convert(said, ImageFacts)
    assert (facts.nccl, facts.gpus, facts.mpi.version) == ("2.27.5", ("NVIDIA H200",), "4.1.7")


@pytest.mark.parametrize(
    ("lines", "spoken"),
    [("mca:pmix:ext3x:version\nmca:pmix:isolated:version", ["pmix"]), ("mca:pmix:isolated:version", [])],
)
def test_open_mpi_4_speaks_what_its_components_are(fakes: Commands, lines: str, spoken: list[str]) -> None:
    fakes.make("ompi_info", stdout=lines)
    assert inside.pmi("openmpi", "4.1.7") == spoken
    assert inside.pmi("openmpi", "5.0.11") == []  # built in: said by launch.pmi


@pytest.mark.parametrize(
    ("option", "spoken"), [("--with-pmi=pmi2", ["pmi2"]), ("--with-pmix=/usr", ["pmix"]), ("", [])]
)
def test_mpich_speaks_what_it_was_configured_with(fakes: Commands, option: str, spoken: list[str]) -> None:
    fakes.make("mpichversion", stdout=f"MPICH Version: 4.2\nMPICH configure: --prefix=/usr {option}\n")
    assert inside.pmi("mpich", "4.2") == spoken


def test_what_a_check_saw_goes_with_the_jobs_of_the_image_until_it_changes(
    fakes: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    fakes.make("podman", stdout=f"{SHA}\n{json.dumps(FACTS)}\n")
    site = with_(LOCAL, engine="podman", image=Image(ref="b:1"))
    planned = plan(Job(name="j", task="smoke"), site, str(tmp_path / "run"), HERE)
    assert recall(planned, SHA) is None
    facts = engine.inspect(site.image, site)
    written = create.files(planned, create.of(planned), SHA)
    origin = msgspec.json.decode(written["provenance.json"], type=Provenance)
    assert origin.image_facts == facts
    assert recall(planned, "sha256:" + "cd" * 32) is None
    other = plan(Job(name="j", task="smoke", image=Image(ref="b:2")), site, str(tmp_path / "run"), HERE)
    assert recall(other, SHA) is None


def test_a_bertjob_in_the_image_that_is_not_this_one_is_reported_with_both_versions(fakes: Commands) -> None:
    old = {**FACTS, "packages": {**dict.fromkeys(NEEDED, "1"), "bertjob": "0.0.9"}}
    fakes.make("podman", stdout=json.dumps(old))
    done = CliRunner().invoke(cli, ["image", "check", "b:1", "--engine", "podman"])
    assert f"0.0.9, and this one is {__version__}" in done.output


def test_mounts_of_the_site_are_seen_in_a_check(fakes: Commands, tmp_path: Path) -> None:
    fakes.make("podman", stdout=json.dumps(FACTS))
    site = with_(LOCAL, engine="podman", mounts=(Mount(source=str(tmp_path)),))
    image = Image(ref="b:1", overlay=f"{tmp_path}/env")
    with pytest.raises(PreflightError, match="/env: there is no such environment: `bertjob image overlay` makes it"):
        engine.inspect(image, site)
    (tmp_path / "env/bin").mkdir(parents=True)
    (tmp_path / "env/bin/python").symlink_to("/usr/bin/python-of-the-image")
    facts = engine.inspect(image, site)
    assert facts.mpi == Library(family="openmpi", version="4.1.7")
    call = one_call(fakes, "podman")
    assert [word for word in call if word.startswith("--mount")] == [
        f"--mount=type=bind,source={tmp_path},destination={tmp_path}"
    ]
    assert f"{tmp_path}/env/bin/python" in call
    assert os.environ["PATH"] in fakes.environment("podman")["PATH"]
