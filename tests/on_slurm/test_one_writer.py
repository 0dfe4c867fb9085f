"""One start writes into a run directory, whatever Slurm and people start beside it; and it may go away.

A node whose daemon is lost goes on training while Slurm starts the job again elsewhere; people submit a run's script
once more, and move or remove its folder.
"""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import containers
import pytest
from face import Face
from slurm.lab import Lab
from test_requeue import SITES, STEPS, slurm
from training import Tiny, restarts, wait_for_step
from until import until

from bertjob.rundir import lease
from bertjob.rundir.directory import RunDir
from bertjob.rundir.state import read_state

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

LONG = 1_000_000
"""Steps that no test waits for."""


def submitted(bertjob: Face, job: Path, site: Path, run: RunDir, nodes: int) -> str:
    done = bertjob("submit", job, "--site", site, "--nodes", nodes, "--run-dir", run.path)
    return done.stdout.split()[-1]


def trains_on(cluster: Lab, node: int) -> bool:
    return any(words[1:4] == ["-u", "-m", "bertjob.train"] for words in cluster.processes(node).values())


@pytest.mark.fault(
    "two starts of a job at work at once (split brain), by {launcher}",
    survived="the newer one goes on",
    lost="nothing",
    reported="completed; the older start says who has taken over",
)
@pytest.mark.parametrize(
    "launcher", ["srun", *(pytest.param(name, marks=pytest.mark.faults) for name in SITES if name != "srun")]
)
def test_of_two_starts_at_the_same_time_the_newer_one_writes(
    bertjob: Face, tiny: Tiny, cluster: Lab, launcher: str
) -> None:
    run, steps = RunDir(bertjob.folder / "runs" / "run"), 4 * STEPS
    job_id = submitted(bertjob, tiny(steps), bertjob.site("site", **SITES[launcher]), run, 1)
    wait_for_step(run, job_id, 3)
    host = slurm("squeue", "--noheader", f"--jobs={job_id}", "--format=%B")
    node = next(node for node in cluster.nodes if cluster.shape.host(node) == host)
    (daemon,) = (pid for pid, words in cluster.processes(node).items() if words[:2] == ["slurmd", "-D"])
    os.kill(daemon, signal.SIGKILL)
    try:
        slurm("scontrol", "update", f"NodeName={host}", "State=DOWN", "Reason=test")
        until(lambda: restarts(job_id) == 1)
        assert trains_on(cluster, node)
        bertjob("wait", job_id)
        until(lambda: not trains_on(cluster, node))
    finally:
        cluster.crash(node)
        cluster.boot(node)
        subprocess.run(["scontrol", "update", f"NodeName={host}", "State=RESUME"], capture_output=True, check=False)
    state = read_state(run.state)
    assert state is not None
    assert (state.phase, state.step) == ("done", steps)
    assert state.host != host
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [*range(1, steps + 1)]
    assert f"job {job_id} (start 1 on {state.host}, " in run.log(job_id, 0).read_text()
    assert "has taken over, so this start writes nothing more" in run.log(job_id, 0).read_text()
    assert restarts(job_id) == 1
    assert json.loads(bertjob("status", "--json", job_id).stdout)[0]["state"] == "completed"


@pytest.mark.fault(
    "sbatch, submit or run beside a job at work",
    survived="undisturbed",
    lost="nothing",
    reported="refused with the id of the job at work",
)
def test_nothing_begins_beside_a_job_at_work(bertjob: Face, tiny: Tiny, cluster: Lab) -> None:
    job, site, run = tiny(LONG), bertjob.site("site"), RunDir(bertjob.folder / "run")
    job_id = submitted(bertjob, job, site, run, 1)
    wait_for_step(run, job_id, 3)
    told = f"its job {job_id} is still running; cancel it or wait for it"
    assert told in bertjob("submit", job, "--site", site, "--nodes", 1, "--run-dir", run.path, code=3).stderr
    second = slurm("sbatch", "--parsable", str(run.script))
    until(lambda: slurm("sacct", "-nXPo", "State", "-j", second) not in ("", "PENDING", "RUNNING", "COMPLETING"))
    assert slurm("sacct", "-nXPo", "State,ExitCode", "-j", second) == "FAILED|3:0"
    assert f"{run.path}: job {job_id} is still running there; cancel it or wait for it" in run.log(second).read_text()
    before = read_state(run.state)
    assert before is not None
    wait_for_step(run, job_id, before.step + 3)  # undisturbed
    bertjob("cancel", job_id)
    third = slurm("sbatch", "--parsable", str(run.script))  # of a job that is over, which is in nobody's way
    wait_for_step(run, third, before.step + 3)
    assert (
        f"job {third} is still running" in bertjob("submit", job, "--site", site, "--run-dir", run.path, code=3).stderr
    )
    slurm("scancel", third)


def move(run: RunDir) -> RunDir:
    return RunDir(run.path.rename(run.path.with_name("moved")))


def move_the_folder_above(run: RunDir) -> RunDir:
    above = run.path.parent
    return RunDir(above.rename(above.with_name("moved")) / run.path.name)


MOVES = [("srun", "none"), ("openmpi", "none"), ("torchrun", "none"), ("srun", "podman"), ("srun", "charliecloud")]
MOVED = [(move, *way) for way in MOVES] + [(move_the_folder_above, *way) for way in MOVES]


@pytest.mark.fault(
    "run directory: {change}, by {launcher}, engine {engine}",
    survived="resumed at its new place",
    lost="nothing",
    reported="failed: where it was moved to, and the command to resume",
)
@pytest.mark.parametrize(
    ("change", "launcher", "engine"),
    [MOVED[0], *(pytest.param(*way, marks=pytest.mark.faults) for way in MOVED[1:])],
)
def test_a_job_whose_run_directory_is_moved_ends_and_is_resumed_at_its_new_place(
    bertjob: Face,
    tiny: Tiny,
    cluster: Lab,
    request: pytest.FixtureRequest,
    change: Callable[[RunDir], RunDir],
    launcher: str,
    engine: str,
) -> None:
    keys = SITES[launcher]
    if engine != "none":
        images: containers.Images = request.getfixturevalue("images")
        keys = {**keys, "engine": engine, **images.site_keys(engine)}
    site, run = bertjob.site("site", **keys), RunDir(bertjob.folder / "runs" / "run")
    job_id = submitted(bertjob, tiny(LONG), site, run, 2)
    wait_for_step(run, job_id, 3)
    moved = change(run)
    until(lambda: slurm("sacct", "-nXPo", "State", "-j", job_id) == "FAILED")
    assert restarts(job_id) == 0
    assert not run.path.exists()
    state = read_state(moved.state)
    assert state is not None
    assert state.phase == "failed"
    assert "while it was in use" in state.error
    assert f"step-{state.step:06d} is whole" in state.error
    if engine == "none":  # a container does not know the new path of what is mounted
        assert f"--run-dir {moved.path}" in state.error
    again = submitted(bertjob, tiny(LONG), site, moved, 2)
    wait_for_step(moved, again, state.step + 3)
    assert f"goes on from checkpoint step-{state.step:06d}" in moved.log(again).read_text()
    bertjob("cancel", "--now", again)


@pytest.mark.fault(
    "run directory removed, by {launcher}",
    survived="no",
    lost="the run, as its owner wanted",
    reported="failed: removed while it was in use",
)
@pytest.mark.parametrize(
    "launcher", ["srun", *(pytest.param(name, marks=pytest.mark.faults) for name in SITES if name != "srun")]
)
def test_a_job_whose_run_directory_is_removed_ends_and_makes_none(
    bertjob: Face, tiny: Tiny, cluster: Lab, launcher: str
) -> None:
    run = RunDir(bertjob.folder / "runs" / "run")
    job_id = submitted(bertjob, tiny(LONG), bertjob.site("site", **SITES[launcher]), run, 2)
    wait_for_step(run, job_id, 3)
    with run.log(job_id).open() as log:
        shutil.rmtree(run.path)
        until(lambda: slurm("sacct", "-nXPo", "State", "-j", job_id) == "FAILED")
        told = log.read()
    assert f"the run directory {run.path} was removed while it was in use" in told
    assert (run.path.exists(), restarts(job_id)) == (False, 0)


def removed(run: RunDir) -> None:
    shutil.rmtree(run.path)


def moved_away(run: RunDir) -> None:
    elsewhere = run.path.parent.parent / "elsewhere"
    elsewhere.mkdir()
    run.path.rename(elsewhere / run.path.name)


def replaced_by_a_new_folder(run: RunDir) -> None:
    moved_away(run)
    run.logs.mkdir(parents=True)


def replaced_by_another_run(run: RunDir) -> None:
    moved_away(run)
    run.logs.mkdir(parents=True)
    run.job.write_text("name: another\n")
    other = lease.of_waiting_job("999999")
    assert lease.replace(run, None, other)
    lease.end(run, other)


def replaced_above_by_a_link(run: RunDir) -> None:
    above = run.path.parent
    above.rename(above.with_name("elsewhere"))
    above.with_name("empty").mkdir()
    above.symlink_to(above.with_name("empty"))


CHANGES = [removed, moved_away, replaced_by_a_new_folder, replaced_by_another_run, replaced_above_by_a_link]


@pytest.mark.fault(
    "run directory of a job that waits ({start}): {change}",
    survived="no",
    lost="nothing that was not removed",
    reported="failed: moved or removed, with the command that resumes it",
)
@pytest.mark.parametrize("start", ["the first time", pytest.param("again", marks=pytest.mark.faults)])
@pytest.mark.parametrize("change", CHANGES)
def test_a_job_whose_run_directory_is_gone_when_it_starts_makes_none(
    bertjob: Face, tiny: Tiny, cluster: Lab, change: Callable[[RunDir], None], start: str
) -> None:
    run = RunDir(bertjob.folder / "runs" / "run")
    if start == "again":
        job_id = submitted(bertjob, tiny(LONG), bertjob.site("site"), run, 1)
        wait_for_step(run, job_id, 3)
        slurm("scontrol", "requeuehold", job_id)
        until(lambda: slurm("squeue", "--noheader", f"--jobs={job_id}", "--format=%T") == "PENDING")
        until(lambda: not any(trains_on(cluster, node) for node in cluster.nodes))
    else:
        held = ("submit", tiny(LONG), "--site", bertjob.site("site"), "--nodes", 1, "--run-dir", run.path)
        job_id = bertjob(*held, "--", "--hold").stdout.split()[-1]
    change(run)
    there = sorted(run.path.rglob("*"))
    (row,) = json.loads(bertjob("status", "--json", job_id).stdout)
    assert (row["job_id"], row["state"]) == (job_id, "pending")
    slurm("scontrol", "release", job_id)
    done = bertjob("wait", job_id, code=1)
    assert f"{run.path}" in done.stderr
    assert "it was moved or removed" in done.stderr
    assert "bertjob submit DIR/job.yaml --site DIR/site.yaml --run-dir DIR" in done.stderr
    assert [path for path in sorted(run.path.rglob("*")) if path not in there] == [
        run.log(job_id) for _ in range(run.logs.exists())
    ]
    assert restarts(job_id) == (start == "again")


@pytest.mark.fault(
    "run directory of a job that waits: cancelled after it was removed",
    survived="no",
    lost="nothing that was not removed",
    reported="cancelled",
)
def test_a_job_that_waits_is_cancelled_though_its_run_directory_is_gone(
    bertjob: Face, tiny: Tiny, cluster: Lab
) -> None:
    run = RunDir(bertjob.folder / "runs" / "run")
    held = ("submit", tiny(LONG), "--site", bertjob.site("site"), "--nodes", 1, "--run-dir", run.path)
    job_id = bertjob(*held, "--", "--hold").stdout.split()[-1]
    removed(run)
    assert "moved or removed" in bertjob("logs", "run", code=1).stderr
    bertjob("cancel", "run")
    assert slurm("sacct", "-nXPo", "State", "-j", job_id).startswith("CANCELLED")
    assert not run.path.exists()
