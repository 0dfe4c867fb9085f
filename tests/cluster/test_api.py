"""The Python API: what `submit` returns answers as submitit's jobs do."""

import pickle
from pathlib import Path

import pytest
from fakes.commands import Commands
from planned import SMALL

import bertjob
from bertjob.config.job import Job
from bertjob.config.site import Site
from bertjob.errors import BertjobError, SchedulerError
from bertjob.rundir.state import RunState, write_state


@pytest.fixture
def run(commands: Commands, tmp_path: Path) -> bertjob.Run:
    plan = bertjob.plan(Job(name="squad", **SMALL), Site(name="daint"), tmp_path / "run")
    return bertjob.submit(plan)


def ended(commands: Commands, run: bertjob.Run, state: str, reason: str = "None", **of_state: object) -> None:
    commands.make("squeue", f"4711|{state}|nid00001|{reason}\n")
    if of_state:
        write_state(run.run_dir.state, RunState(**{"time": 1.0, "job_id": "4711"} | of_state))  # type: ignore[arg-type]


def test_it_is_where_it_was_submitted(run: bertjob.Run, tmp_path: Path) -> None:
    assert (run.job_id, run.run_dir.path) == ("4711", tmp_path / "run")
    assert repr(run) == "<bertjob.Run run, job 4711>"
    assert run.image_digest is None
    assert (run.paths.folder, run.paths.submission_file) == (tmp_path / "run", tmp_path / "run/job.sbatch")


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "COMPLETING", "COMPLETED", "FAILED", "TIMEOUT", "CANCELLED"])
def test_its_state_is_slurms_and_says_whether_it_is_done(run: bertjob.Run, commands: Commands, state: str) -> None:
    ended(commands, run, state)
    assert run.state == state
    assert run.done() == (state not in ("PENDING", "RUNNING", "COMPLETING"))


def test_done_asks_the_scheduler_seldom_unless_it_must(run: bertjob.Run, commands: Commands) -> None:
    ended(commands, run, "RUNNING")
    assert not any(run.done() for _ in range(5))
    assert len(commands.calls("squeue")) == 1
    ended(commands, run, "FAILED")
    assert not run.done()
    assert run.done(force_check=True)
    asked = len(commands.calls("squeue"))
    assert run.done()
    assert run.wait() is None  # type: ignore[func-returns-value]
    assert len(commands.calls("squeue")) == asked


def test_a_job_that_nobody_knows_is_unknown_and_not_done(run: bertjob.Run, commands: Commands) -> None:
    assert run.state == "UNKNOWN"
    assert not run.done()


def test_its_output_is_the_jobs_log(run: bertjob.Run) -> None:
    assert run.stdout() is None
    assert run.stderr() is None
    run.paths.stdout.write_text("hop\n")
    assert run.stdout() == "hop\n"
    assert run.stderr() is None
    assert run.paths.stderr == run.paths.stdout


def test_success_has_a_result_and_no_exception(run: bertjob.Run, commands: Commands) -> None:
    ended(commands, run, "COMPLETED", phase="done", exit_code=0, metrics={"f1": 0.9})
    run.wait()
    assert run.exception() is None
    assert run.result() == {"f1": 0.9}
    assert run.results() == [{"f1": 0.9}]


def test_failure_has_an_exception_that_result_raises(run: bertjob.Run, commands: Commands) -> None:
    ended(commands, run, "FAILED", "NonZeroExitCode", phase="failed", exit_code=1, error="rank 1 (n1): broken")
    error = run.exception()
    assert isinstance(error, BertjobError)
    assert str(error).startswith("run (4711) failed: rank 1 (n1): broken; resume with: bertjob submit ")
    with pytest.raises(BertjobError, match=r"rank 1 \(n1\): broken"):
        run.results()


def test_cancel_ends_it_and_says_what_slurm_says(run: bertjob.Run, commands: Commands) -> None:
    ended(commands, run, "PENDING")
    run.cancel()
    assert commands.calls("scancel") == [["4711"]]
    commands.make("scancel", stderr="scancel: error: the controller is away\n", code=1)
    with pytest.raises(SchedulerError, match="the controller is away"):
        run.cancel()
    run.cancel(check=False)


def test_a_pickled_run_is_the_same_run(run: bertjob.Run, commands: Commands) -> None:
    ended(commands, run, "FAILED")
    assert run.done()
    copy = pickle.loads(pickle.dumps(run))
    assert (copy.job_id, copy.run_dir, copy.state) == (run.job_id, run.run_dir, "FAILED")
