"""Images that are files or folders are looked at before a job is queued."""

from pathlib import Path

import msgspec
import pytest
from planned import HERE, SLURM, SMALL, with_

from bertjob.cluster.preflight import check_image
from bertjob.config.job import Engine, Image, Job
from bertjob.config.site import Mount
from bertjob.errors import PreflightError
from bertjob.launch.plan import Plan, plan


def planned(engine: Engine, image: str, run_dir: Path, *mounts: Mount) -> Plan:
    job = Job(name="j", **SMALL, engine=engine, image=Image(ref=image))
    return plan(job, with_(SLURM, mounts=mounts), str(run_dir), HERE)


def refused(checked: Plan) -> str:
    with pytest.raises(PreflightError) as raised:
        check_image(checked)
    return str(raised.value)


@pytest.mark.parametrize("image", ["/nowhere/a.sif", "$IMAGES/a.sif"])
def test_a_file_that_is_not_there_is_refused(image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGES", "/nowhere")
    told = refused(planned("apptainer", image, Path("/runs/j")))
    assert told == "image.ref: /nowhere/a.sif: there is no such file or folder"


@pytest.mark.parametrize(
    "image",
    [
        "nvcr.io/nvidia/pytorch:24.11-py3",
        "rocm/pytorch",
        "docker.io/pytorch/pytorch:2.6",
        "$NOBODY_KNOWS/lumi-multitorch-full-u24.sif",
    ],
)
def test_an_image_of_others_needs_what_brings_bertjob_into_it(image: str) -> None:
    told = f"image.ref: {image}: has no bertjob in it: make an environment that has by `bertjob image overlay`, and say"
    assert refused(planned("apptainer", image, Path("/runs/j"))).startswith(told)
    for brought in (Image(ref=image, overlay="$SCRATCH/env"), Image(ref=image, source="/home/me/bertjob")):
        here = msgspec.structs.replace(HERE, is_folder=lambda path: True)
        check_image(plan(Job(name="j", **SMALL, engine="apptainer", image=brought), SLURM, "/runs/j", here))
    check_image(planned("apptainer", "group/pytorch:24.11-py3", Path("/runs/j")))


@pytest.mark.parametrize("image", ["group/name:1", "$NOBODY_KNOWS/a.sif"])
def test_what_only_the_nodes_know_is_left_to_them(image: str) -> None:
    check_image(planned("apptainer", image, Path("/runs/j")))


def test_a_folder_must_hold_what_charliecloud_mounts_over(tmp_path: Path) -> None:
    image = tmp_path / "image"
    (image / "etc").mkdir(parents=True)
    checked = planned("charliecloud", str(image), Path("/runs/j"), Mount(source="/data", target="/inside"))
    for lacking in ("/etc/passwd", "/etc/group", "/etc/hosts", "/etc/resolv.conf", "/inside", "/runs"):
        assert refused(checked) == f"image.ref: {image}: has no {lacking}, and ch-run makes none; make it in the image"
        (image / lacking.lstrip("/")).touch()
    check_image(checked)


def test_the_hosts_tmp_is_there_in_charliecloud(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    for name in ("passwd", "group", "hosts", "resolv.conf"):
        (tmp_path / "etc" / name).touch()
    check_image(planned("charliecloud", str(tmp_path), Path("/tmp/runs/j")))
