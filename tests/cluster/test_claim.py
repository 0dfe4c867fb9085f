"""Two `run`, two `submit`, or one beside the other: the second is refused, with the first's id."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from fakes.commands import Commands
from planned import SMALL

from bertjob.cluster import claim
from bertjob.cluster.local import run_here
from bertjob.cluster.submit import submit
from bertjob.config.job import Data, Job
from bertjob.config.site import Site
from bertjob.errors import LeaseError, PreflightError
from bertjob.launch.plan import Here, Plan, plan
from bertjob.rundir import lease, submissions
from bertjob.rundir.directory import RunDir
from bertjob.rundir.state import Phase, RunState, write_state
from bertjob.rundir.submissions import Submission

DAINT = Site(name="daint")


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path / "run")


def planned(run_dir: RunDir, site: Site = DAINT) -> Plan:
    job = Job(name="squad", **SMALL | {"data": Data(train="demo")})
    return plan(job, site, str(run_dir.path), Here(sys.executable, str(Path.cwd())))


def local(run_dir: RunDir, body: str) -> Plan:
    """A local run of a small program in place of the training."""
    program = run_dir.path.parent / "program"
    program.write_text(f"#!{sys.executable}\nimport os, pathlib, sys, time\n{body}")
    program.chmod(0o755)
    return planned(run_dir, Site(name="here", scheduler="none", launcher="local", python=str(program)))


def queued(commands: Commands, run_dir: RunDir, state: str = "PENDING") -> None:
    """A job 4711 that was submitted, of which Slurm says a state."""
    submit(planned(run_dir))
    commands.make("squeue", f"4711|{state}|None|n1\n")


def begin(run_dir: RunDir, body: str) -> tuple[threading.Thread, list[int | Exception]]:
    """Run a program on a thread; what came of it is in the list."""
    ended: list[int | Exception] = []

    def go() -> None:
        try:
            ended.append(run_here(local(run_dir, body)))
        except (PreflightError, LeaseError) as error:
            ended.append(error)

    thread = threading.Thread(target=go)
    thread.start()
    return thread, ended


WAITS = "print('ready', flush=True)\nwhile not pathlib.Path(__file__).with_name('go').exists(): time.sleep(0.02)"


def wait_until_ready(log: Path) -> None:
    end = time.monotonic() + 60
    while not (log.exists() and "ready" in log.read_text()):
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_submission_hands_its_claim_on_to_the_job(commands: Commands, run_dir: RunDir) -> None:
    queued(commands, run_dir)
    holder = lease.read(run_dir)
    assert holder is not None
    assert (holder.job_id, holder.pid, holder.ended) == ("4711", 0, False)


@pytest.mark.parametrize("start", [submit, run_here])
def test_nothing_begins_beside_a_job_that_waits_or_runs(
    commands: Commands, run_dir: RunDir, start: Callable[[Plan], object]
) -> None:
    queued(commands, run_dir)
    script = run_dir.script.read_bytes()
    wanted = planned(run_dir) if start is submit else local(run_dir, "")
    with pytest.raises(PreflightError, match="its job 4711 is still pending; cancel it or wait for it"):
        start(wanted)
    assert len(commands.calls("sbatch")) == 1
    assert run_dir.script.read_bytes() == script


@pytest.mark.parametrize("state", ["CANCELLED", "NODE_FAIL", "COMPLETED"])
def test_a_job_that_is_over_by_the_schedulers_word_is_in_nobodys_way(
    commands: Commands, run_dir: RunDir, state: str
) -> None:
    queued(commands, run_dir, state)
    commands.make("sbatch", "Submitted batch job 4712\n")
    assert submit(planned(run_dir)).job_id == "4712"


def test_a_job_that_a_person_started_by_its_script_is_known_by_the_lease(commands: Commands, run_dir: RunDir) -> None:
    queued(commands, run_dir, "COMPLETED")
    holder = msgspec.structs.replace(lease.of_this_process("4800"), machine="of a node")
    assert lease.replace(run_dir, lease.read(run_dir), holder)
    commands.make("squeue", "4711|COMPLETED|None|n1\n4800|RUNNING|None|n1\n")
    with pytest.raises(PreflightError, match="its job 4800 is still running; cancel it or wait for it"):
        submit(planned(run_dir))


@pytest.mark.parametrize("start", ["submit", "run"])
def test_nothing_begins_beside_a_local_run(commands: Commands, run_dir: RunDir, start: str) -> None:
    thread, ended = begin(run_dir, WAITS)
    wait_until_ready(run_dir.log("local"))
    try:
        with pytest.raises(PreflightError, match=r"is still running here as process \d+"):
            run_here(local(run_dir, WAITS)) if start == "run" else submit(planned(run_dir))
    finally:
        Path("go").touch()
        thread.join()
    assert ended == [0]
    holder = lease.read(run_dir)
    assert holder is not None
    assert holder.ended


def test_of_two_that_begin_at_the_same_time_one_is_refused(
    commands: Commands, run_dir: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = threading.Barrier(2)
    check = claim.check_over
    checked = threading.local()

    def check_together(there: RunDir) -> None:
        check(there)
        if not getattr(checked, "once", False):  # both have seen that nobody is there
            checked.once = True
            both.wait(60)

    monkeypatch.setattr("bertjob.cluster.local.check_over", check_together)
    begun = [begin(run_dir, WAITS) for _ in range(2)]
    wait_until_ready(run_dir.log("local"))
    end = time.monotonic() + 60
    while not any(ended for _, ended in begun):
        assert time.monotonic() < end
        time.sleep(0.02)
    Path("go").touch()
    for thread, _ in begun:
        thread.join()
    codes = sorted((ended[0] for _, ended in begun), key=lambda code: code != 0)
    assert codes[0] == 0
    assert "is at work there" in str(codes[1]) or "is still running here" in str(codes[1])
    assert run_dir.log("local").read_text().count("ready") == 1


def test_a_killed_run_is_in_nobodys_way(commands: Commands, run_dir: RunDir) -> None:
    holder = lease.of_this_process("local")
    with subprocess.Popen(["sleep", "60"]) as process:
        process.send_signal(signal.SIGKILL)
    run_here(local(run_dir, ""))
    former = lease.read(run_dir)
    assert lease.replace(run_dir, former, msgspec.structs.replace(holder, pid=process.pid))
    assert run_here(local(run_dir, "")) == 0


def test_a_holder_that_nobody_can_ask_about_is_watched(
    commands: Commands, run_dir: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir.path.mkdir()
    holder = msgspec.structs.replace(lease.of_this_process("local"), machine="another", host="nid00007")
    assert lease.replace(run_dir, None, holder)
    monkeypatch.setattr(lease, "is_silent", lambda there: False)
    with pytest.raises(
        PreflightError, match=r"a local run \(on nid00007, process .* is at work there; stop it or wait"
    ):
        claim.check_over(run_dir)
    monkeypatch.setattr(lease, "is_silent", lambda there: True)
    claim.check_over(run_dir)


@pytest.mark.parametrize("phase", ["training", None, "checkpointed"])
def test_a_run_elsewhere_without_a_lease_is_watched_whatever_its_clock_says(
    run_dir: RunDir, monkeypatch: pytest.MonkeyPatch, phase: Phase | None
) -> None:
    run_dir.path.mkdir()
    an_hour_ago = time.time() - 3600
    said = Submission(job_id="local", site="x", scheduler="none", time=an_hour_ago, host="elsewhere", pid=1)
    submissions.append(run_dir, said)
    if phase is not None:
        write_state(run_dir.state, RunState(phase=phase, time=an_hour_ago + 1, job_id="local"))
    seen: list[Path] = []
    monkeypatch.setattr(lease, "is_silent", lambda file: bool(seen.append(file)))
    if phase == "checkpointed":
        claim.check_over(run_dir)
        return
    with pytest.raises(PreflightError, match="is still running on elsewhere; stop it there or wait for it"):
        claim.check_over(run_dir)
    assert seen == [run_dir.state]
    monkeypatch.setattr(lease, "is_silent", lambda file: True)
    claim.check_over(run_dir)


def test_what_another_job_has_taken_over_meanwhile_stays_and_ours_is_taken_back(
    commands: Commands, run_dir: RunDir
) -> None:
    """sbatch has put the job into the queue, and meanwhile somebody's job began by the run's script."""
    other = lease.of_this_process("4800")
    taken = f"#!/bin/sh\necho '{msgspec.json.encode(other).decode()}' > \"{run_dir.lease}\"\n"
    (commands.folder / "sbatch").write_text(f"{taken}echo Submitted batch job 4711\n")
    with pytest.raises(PreflightError, match=r"job 4800 \(.*\) has begun there meanwhile, so job 4711 is taken back"):
        submit(planned(run_dir))
    assert commands.calls("scancel")[-1][-1] == "4711"
    assert lease.read(run_dir) == other


def test_a_local_run_whose_folder_is_moved_says_where_it_is(commands: Commands, run_dir: RunDir) -> None:
    moved = run_dir.path.with_name("moved")
    with pytest.raises(LeaseError, match=f"the run directory {run_dir.path} was moved to {moved} while it was in use"):
        run_here(local(run_dir, f"os.rename({str(run_dir.path)!r}, {str(moved)!r})"))
    assert not run_dir.path.exists()


def test_a_local_run_whose_folder_is_removed_says_so_and_makes_none(commands: Commands, run_dir: RunDir) -> None:
    body = f"import shutil\nshutil.rmtree({str(run_dir.path)!r})\nsys.exit(1)"
    with pytest.raises(LeaseError, match=f"the run directory {run_dir.path} was removed while it was in use"):
        run_here(local(run_dir, body))
    assert not run_dir.path.exists()
