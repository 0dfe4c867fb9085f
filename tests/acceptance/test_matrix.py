"""What an engine must do for bertjob, with the engines of this machine: `make acceptance`, docs/acceptance.md."""

import json
import os
import shutil
import subprocess
from itertools import islice
from typing import Literal

import ordinary_user
import pytest
from centre import STEPS, Centre

from bertjob.formats.checksums import checksum
from bertjob.launch.engines import ENGINES
from bertjob.rundir.directory import RunDir
from bertjob.rundir.proof import read_proof
from bertjob.rundir.state import read_state

pytestmark = [pytest.mark.slow, pytest.mark.acceptance]
row = pytest.mark.row


def trained(run: RunDir) -> tuple[list[float], str]:
    """The loss of each step, and the weights."""
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    losses = {line["step"]: line["loss"] for line in lines if "loss" in line}
    assert list(losses) == list(range(1, STEPS + 1))
    (weights,) = run.model.glob("*.safetensors")
    return list(losses.values()), checksum(weights).sha256


@row("smoke: two ranks meet")
def test_smoke(centre: Centre) -> None:
    run = RunDir(centre.folder / "run")
    centre.finish("smoke", run, "--nodes", 1, "--ntasks-per-node", 2)
    proof = read_proof(run.proof)
    assert proof is not None
    assert (proof.engine, len(proof.ranks)) == (centre.engine, 2)


@row("tiny training, stopped by {how}, resumes bitwise")
@pytest.mark.parametrize("how", ["signal", "requeue"])
def test_a_stopped_training_resumes_bitwise(centre: Centre, how: Literal["signal", "requeue"]) -> None:
    if how == "requeue" and not centre.queues:
        pytest.skip("needs a scheduler: SITE=…")
    job = centre.training(centre.folder / "job")
    whole, stopped = RunDir(centre.folder / "whole"), RunDir(centre.folder / "stopped")
    centre.finish(job, whole)
    centre.interrupt_and_finish(job, stopped, how)
    assert "training goes on from checkpoint" in centre.log(stopped)
    assert trained(stopped) == trained(whole)


@row("exit code {code} of a command")
@pytest.mark.parametrize("code", [1, 7, 85])
def test_an_exit_code_is_the_programs(centre: Centre, code: int) -> None:
    centre.inside("sh", "-c", f"exit {code}", code=code)


@row("a training that fails ends with 1 and its reason")
def test_a_failed_training_ends_with_its_reason(centre: Centre) -> None:
    job = centre.training(centre.folder / "job", optimizer={"lr": 1e38})
    assert "try a lower optimizer.lr" in centre.finish(job, RunDir(centre.folder / "run"), code=1)


@row("an image that is not there is reported in one line")
def test_an_absent_image_is_reported(centre: Centre) -> None:
    row = ENGINES[centre.engine]  # type: ignore[index]
    if centre.queues and row.program and not centre.keys.get("modules") and shutil.which(row.program) is None:
        pytest.skip(f"{row.program} is not on this host")
    ref = str(centre.folder / "no-image") if row.images.suffix else "localhost/no-such-image:1"
    site = centre.site(image={"ref": ref})
    done = centre.bertjob("image", "check", "--site", site, code=3)
    assert len(done.stderr.splitlines()) == 1


@row("an ordinary user trains: all files are the user's")
def test_files_belong_to_the_user_and_private_ones_are_closed(users_centre: Centre) -> None:
    user = users_centre.user.uid
    if user == 0:
        pytest.skip("run it as an ordinary user")
    run = RunDir(users_centre.folder / "run")
    users_centre.finish(users_centre.training(users_centre.folder / "job", steps=2, env={"MINE": "1"}), run)
    assert {path.lstat().st_uid for path in (run.path, *run.path.rglob("*"))} == {user}
    private = [path for path in run.path.rglob("*") if path.lstat().st_mode & 0o777 == 0o600]
    assert {run.job, run.script} <= {*private}
    if os.geteuid() == 0:
        other = list(islice(ordinary_user.free_uids(), 2))[1]
        as_other = ["setpriv", f"--reuid={other}", f"--regid={other}", "--clear-groups", "head", "-c1"]
        assert subprocess.run([*as_other, run.state], capture_output=True, check=False).returncode == 0
        for path in private:
            assert subprocess.run([*as_other, path], capture_output=True, check=False).returncode != 0, path


@row("what an ordinary user may not read is closed inside")
def test_the_container_gives_no_more_rights_than_the_user_has(users_centre: Centre) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to make a file of somebody else")
    closed = users_centre.folder / "closed"
    closed.write_text("root's\n")
    closed.chmod(0o600)
    said = users_centre.inside("sh", "-c", "cat closed || echo closed; echo mine > written")
    assert said == ["closed"]
    assert (users_centre.folder / "written").stat().st_uid == users_centre.user.uid


@row("paths with spaces")
def test_paths_with_spaces(centre: Centre) -> None:
    run = RunDir(centre.folder / "my runs" / "the first")
    centre.finish(centre.training(centre.folder / "my jobs" / "a b", steps=2), run)
    state = read_state(run.state)
    assert state is not None
    assert state.phase == "done"


@row("a readonly mount cannot be written")
def test_what_is_mounted_readonly_cannot_be_written(centre: Centre) -> None:
    own, work = centre.folder / "data", centre.folder / "work"
    own.mkdir()
    work.mkdir()
    (own / "a").write_text("kept\n")
    centre.folder = work
    site = centre.site(mounts=[*centre.keys.get("mounts", []), {"source": str(own), "readonly": True}])
    if not ENGINES[centre.engine].limits.readonly_mounts:  # type: ignore[index]
        refused = centre.bertjob("shell", "--site", site, "--", "true", code=3).stderr
        assert "has no readonly mounts" in refused
        return
    said = centre.inside("sh", "-c", f"cat {own}/a; echo changed > {own}/a || echo refused", site=site)
    assert said == ["kept", "refused"]
    assert (own / "a").read_text() == "kept\n"


@row("symbolic links lead to data elsewhere")
def test_what_symbolic_links_lead_to_is_seen(centre: Centre) -> None:
    job = centre.training(centre.folder / "job", steps=2)
    store = centre.folder / "store"
    store.mkdir()
    shutil.move(centre.folder / "job/vocab.txt", store / "vocab.txt")
    (centre.folder / "job/vocab.txt").symlink_to(store / "vocab.txt")
    run = RunDir(centre.folder / "run")
    centre.finish(job, run)
    assert run.model.is_dir()


@row("the image's software runs, whatever the shell has activated")
def test_the_images_software_runs_whatever_the_shell_has_activated(centre: Centre) -> None:
    activated = centre.folder / "venv/bin"
    activated.mkdir(parents=True)
    for name in ("python3", "python", "sh"):
        (activated / name).write_text("#!/bin/bash\nexit 9\n")
        (activated / name).chmod(0o755)
    path = f"{activated}:{centre.environment.get('PATH', os.environ['PATH'])}"
    lying = {"PATH": path, "PYTHONPATH": str(activated), "LD_LIBRARY_PATH": str(activated)}
    own = centre.inside("sh", "-c", "command -v python3 sh; echo $PATH:$PYTHONPATH:$LD_LIBRARY_PATH")
    centre.environment |= lying | {"VIRTUAL_ENV": str(activated.parent)}
    assert centre.inside("sh", "-c", "command -v python3 sh; echo $PATH:$PYTHONPATH:$LD_LIBRARY_PATH") == own
