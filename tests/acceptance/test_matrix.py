"""What an engine must do for bertjob, with the engines of this machine: `make acceptance ENGINE=sarus IMAGE=…`."""

import json
import os
import shutil
from pathlib import Path

import pytest
from centre import STEPS, Centre

from bertjob.formats.checksums import checksum
from bertjob.launch.engines import ENGINES
from bertjob.rundir.directory import RunDir
from bertjob.rundir.proof import read_proof
from bertjob.rundir.state import read_state

pytestmark = [pytest.mark.slow, pytest.mark.acceptance]


def trained(run: RunDir) -> tuple[list[float], str]:
    """The loss of each step, and the weights."""
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    losses = {line["step"]: line["loss"] for line in lines if "loss" in line}
    assert list(losses) == list(range(1, STEPS + 1))
    (weights,) = run.model.glob("*.safetensors")
    return list(losses.values()), checksum(weights).sha256


def test_smoke(centre: Centre, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    centre.finish("smoke", run, "--nodes", 1, "--ntasks-per-node", 2)
    proof = read_proof(run.proof)
    assert proof is not None
    assert (proof.engine, len(proof.ranks)) == (centre.engine, 2)


def test_a_training_that_is_signalled_goes_on_bitwise_as_if_nothing_had_been(centre: Centre, tmp_path: Path) -> None:
    job = centre.training(tmp_path / "job")
    whole, stopped = RunDir(tmp_path / "whole"), RunDir(tmp_path / "stopped")
    centre.finish(job, whole)
    centre.interrupt_and_finish(job, stopped)
    assert "training goes on from checkpoint" in "".join(path.read_text() for path in stopped.logs.glob("*.out"))
    assert trained(stopped) == trained(whole)


@pytest.mark.parametrize("code", [1, 7, 85])
def test_an_exit_code_is_the_programs(centre: Centre, code: int) -> None:
    centre.inside("sh", "-c", f"exit {code}", code=code)


def test_a_refused_training_ends_with_its_code(centre: Centre, tmp_path: Path) -> None:
    job = centre.training(tmp_path / "job", train=str(tmp_path / "job/bad.json"))
    (tmp_path / "job/bad.json").write_text('{"data": [{"paragraphs": 3}]}')
    run = RunDir(tmp_path / "run")
    centre.bertjob(
        "run" if not centre.queues else "submit", job, "--site", centre.site(), "--run-dir", run.path, code=1
    )


def test_an_image_that_is_not_there_is_told(centre: Centre, tmp_path: Path) -> None:
    row = ENGINES[centre.engine]  # type: ignore[index]
    ref = str(tmp_path / "no-image") if row.images.suffix else "localhost/no-such-image:1"
    site = centre.site(image={"ref": ref})
    done = centre.bertjob("image", "check", "--site", site, code=3)
    assert len(done.stderr.splitlines()) == 1


def test_what_the_ranks_write_is_the_callers(centre: Centre, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    centre.finish(centre.training(tmp_path / "job", steps=2), run)
    owners = {path.stat().st_uid for path in run.path.rglob("*")}
    assert owners == {os.getuid()}
    centre.inside("sh", "-c", "echo mine > written")
    assert (tmp_path / "written").stat().st_uid == os.getuid()


def test_paths_with_spaces(centre: Centre, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "my runs" / "the first")
    centre.finish(centre.training(tmp_path / "my jobs" / "a b", steps=2), run)
    state = read_state(run.state)
    assert state is not None
    assert state.phase == "done"


def test_what_is_mounted_readonly_cannot_be_written(centre: Centre, tmp_path: Path) -> None:
    own, work = tmp_path / "data", tmp_path / "work"
    own.mkdir()
    work.mkdir()
    (own / "a").write_text("kept")
    centre.folder = work
    centre.bertjob.folder = work
    mounts = [*centre.keys.get("mounts", []), {"source": str(own), "readonly": True}]
    site = centre.site(mounts=mounts)
    if not ENGINES[centre.engine].limits.readonly_mounts:  # type: ignore[index]
        refused = centre.bertjob("shell", "--site", site, "--", "true", code=3).stderr
        assert "has no readonly mounts" in refused
        return
    said = centre.inside("sh", "-c", f"cat {own}/a; echo changed > {own}/a || echo refused", site=site)
    assert said == ["kept", "refused"] or said == ["keptrefused"]
    assert (own / "a").read_text() == "kept"


def test_what_symbolic_links_lead_to_is_seen(centre: Centre, tmp_path: Path) -> None:
    job = centre.training(tmp_path / "job", steps=2)
    store = tmp_path / "store"
    store.mkdir()
    shutil.move(tmp_path / "job/vocab.txt", store / "vocab.txt")
    (tmp_path / "job/vocab.txt").symlink_to(store / "vocab.txt")
    run = RunDir(tmp_path / "run")
    centre.finish(job, run)
    assert run.model.is_dir()


def test_the_images_software_runs_whatever_the_shell_has_activated(
    centre: Centre, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    activated = tmp_path / "venv/bin"
    activated.mkdir(parents=True)
    (activated / "python3").write_text("#!/bin/sh\nexit 9\n")
    (activated / "python3").chmod(0o755)
    monkeypatch.setenv("PATH", f"{activated}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(activated))
    monkeypatch.setenv("LD_LIBRARY_PATH", str(activated))
    said = centre.inside("sh", "-c", "command -v python3; echo $PATH:$PYTHONPATH:$LD_LIBRARY_PATH")
    assert str(activated) not in "".join(said)
