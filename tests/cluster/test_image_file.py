"""Images that are files or folders are looked at before a job is queued."""

from pathlib import Path

import pytest
from planned import HERE, SLURM, SMALL, with_

from bertjob.cluster.preflight import check, check_image, missing_overlay
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


def overlaid(folder: str, tmp_path: Path) -> Plan:
    job = Job(name="j", **SMALL, engine="podman", image=Image(ref="b:1", overlay=folder))
    return plan(job, SLURM, str(tmp_path / "run"), HERE)


def test_an_overlay_that_nobody_has_made_is_refused_with_the_command_that_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRATCH", str(tmp_path))
    with pytest.raises(PreflightError) as refusal:
        check(overlaid("$SCRATCH/env", tmp_path))
    assert str(refusal.value) == (
        f"image.overlay: {tmp_path}/env: there is no such environment: "
        "bertjob image overlay --site slurm --engine podman --image b:1 --path '$SCRATCH/env'"
    )
    (tmp_path / "env/bin").mkdir(parents=True)
    (tmp_path / "env/bin/python").symlink_to("/only/in/the/image/python3")
    assert missing_overlay(overlaid("$SCRATCH/env", tmp_path)) is None


def test_an_overlay_at_a_place_that_only_the_nodes_know_is_left_to_them(tmp_path: Path) -> None:
    assert missing_overlay(overlaid("$NOBODY_KNOWS/env", tmp_path)) is None


@pytest.mark.parametrize("image", ["group/name:1", "$NOBODY_KNOWS/a.sif"])
def test_what_only_the_nodes_know_is_left_to_them(image: str) -> None:
    check_image(planned("apptainer", image, Path("/runs/j")))


def test_a_folder_must_hold_what_charliecloud_mounts_over(tmp_path: Path) -> None:
    image = tmp_path / "image"
    for folder in ("etc", "ch"):
        (image / folder).mkdir(parents=True)
    checked = planned("charliecloud", str(image), Path("/runs/j"), Mount(source="/data", target="/inside"))
    needed = ("/etc/passwd", "/etc/group", "/etc/hosts", "/etc/resolv.conf", "/ch/environment", "/inside", "/runs")
    for lacking in needed:
        assert refused(checked) == f"image.ref: {image}: has no {lacking}, and ch-run makes none; make it in the image"
        (image / lacking.lstrip("/")).touch()
    check_image(checked)


def test_the_hosts_tmp_is_there_in_charliecloud(tmp_path: Path) -> None:
    for folder in ("etc", "ch"):
        (tmp_path / folder).mkdir()
    for name in ("etc/passwd", "etc/group", "etc/hosts", "etc/resolv.conf", "ch/environment"):
        (tmp_path / name).touch()
    check_image(planned("charliecloud", str(tmp_path), Path("/tmp/runs/j")))
