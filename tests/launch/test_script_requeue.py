"""What a script does when its ranks have ended: whether Slurm is to start the job again."""

import os
import shlex
import signal
import time

import pytest
from script_runs import WAITING, Batch, until

from bertjob.errors import REQUEUE_EXIT_CODE
from bertjob.rundir.directory import RunDir
from bertjob.rundir.state import RunState, write_state


def test_a_checkpoint_and_85_start_the_job_again(batch: Batch) -> None:
    assert batch.run("checkpoint(5); sys.exit(85)") == 0
    assert batch.requeues == [["requeue", "7"]]
    assert "goes on from step-000005\n" in batch.log


def test_ranks_that_were_cut_off_are_started_again_whatever_the_launcher_says(batch: Batch) -> None:
    note = RunDir(batch.run_dir).departure("7", 0)
    body = f"""
        pathlib.Path({str(note)!r}).write_text('{{"code":85,"who":"rank 1","line":"…","silent":true}}')
        sys.exit(137)
    """
    assert batch.run(body) == 0
    assert batch.commands.calls("scontrol")[-1] == ["requeue", "7"]


def test_where_it_cannot_be_requeued_it_says_how_to_go_on(batch: Batch) -> None:
    batch.slurm_says(stderr="Requested operation is presently disabled", code=1)
    assert batch.run("checkpoint(5); sys.exit(85)") == REQUEUE_EXIT_CODE
    told = batch.log.partition("it cannot be requeued; start it by: ")[2]
    assert shlex.split(told) == [f"BERTJOB_RUN_DIR={batch.run_dir}", "sbatch", f"{batch.run_dir}/job.sbatch"]


@pytest.mark.parametrize(("restarts", "code", "requeues"), [("2", 0, 1), ("3", 1, 0)])
def test_a_job_that_makes_no_progress_is_given_up(batch: Batch, restarts: str, code: int, requeues: int) -> None:
    batch.slurm_says(restarts=int(restarts))
    assert batch.run("sys.exit(85)", SLURM_RESTART_COUNT=restarts) == code
    assert len(batch.requeues) == requeues


def test_a_job_that_makes_progress_goes_on_however_often(batch: Batch) -> None:
    batch.slurm_says(restarts=40)
    assert batch.run("checkpoint(5); sys.exit(85)", SLURM_RESTART_COUNT="40") == 0
    assert len(batch.requeues) == 1


def test_an_exit_code_that_the_launcher_garbled_does_not_stop_the_job(batch: Batch) -> None:
    def ended(seconds: float, code: int, before: str = "None") -> int:
        write_state(batch.folder / "state.json", RunState(phase="checkpointed", time=seconds))
        said = (batch.folder / "state.json").read_text()
        return batch.run(f"{before}; (run / 'state.json').write_text({said!r}); sys.exit({code})")

    assert ended(1.0, 143, "checkpoint(5)") == 0
    assert ended(1.0, 143, "checkpoint(6)") == 143  # this start has left no word: what is there is of the one before
    assert ended(2.0, 143) == 143  # nobody asked it to stop but srun, because another rank had failed
    assert len(batch.requeues) == 1


def test_a_signal_before_the_first_checkpoint_is_obeyed_though_torchrun_makes_1_of_85(batch: Batch) -> None:
    process = batch.start(leaving_1("checkpointed"))
    until(lambda: (batch.run_dir / "up").exists())
    process.send_signal(signal.SIGUSR1)
    assert process.wait(60) == 0
    assert len(batch.requeues) == 1


def leaving_1(phase: str) -> str:
    """A rank that at a signal leaves this state and exit code 1."""
    state = f'{{"phase":"{phase}","time":0.0}}'
    return WAITING.replace("stop)", f"lambda *_: ((run / 'state.json').write_text({state!r}), os._exit(1)))")


@pytest.mark.parametrize(("phase", "cancels"), [("checkpointed", 1), ("failed", 0)])
def test_a_cancelled_job_that_stopped_is_no_failure_though_torchrun_makes_1_of_85(
    batch: Batch, phase: str, cancels: int
) -> None:
    process = batch.start(leaving_1(phase))
    until(lambda: (batch.run_dir / "up").exists())
    batch.cancel(process)
    assert process.wait(60) == 1
    assert batch.requeues == []
    assert batch.commands.calls("scancel") == [["--state=RUNNING", "7"]] * cancels


def test_a_preempted_job_goes_on_whatever_its_exit_code(batch: Batch) -> None:
    batch.slurm_says(preempted="2026-11-20T11:22:45")
    assert batch.run("sys.exit(205)") == 0
    assert batch.run("") == 0
    assert len(batch.requeues) == 1


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_signals_reach_the_ranks_as_usr1_and_the_job_starts_again(batch: Batch, number: signal.Signals) -> None:
    process = batch.start(WAITING)
    until(lambda: (batch.run_dir / "up").exists())
    process.send_signal(number)
    assert process.wait(60) == 0
    assert "got SIGUSR1\n" in batch.log
    assert len(batch.requeues) == 1
    assert batch.commands.calls("scancel") == []


def test_a_cancelled_job_writes_its_checkpoint_and_is_not_revived(batch: Batch) -> None:
    process = batch.start(WAITING)
    until(lambda: (batch.run_dir / "up").exists())
    batch.cancel(process)
    assert process.wait(60) == 85
    assert "got SIGUSR1\n" in batch.log
    assert batch.requeues == []
    assert batch.commands.calls("scancel") == [["--state=RUNNING", "7"]]


@pytest.mark.parametrize("cancelled", [False, True])
@pytest.mark.parametrize(("state", "restarts"), [("PENDING", 1), ("RUNNING", 1), ("COMPLETING", 0), ("CANCELLED", 0)])
def test_a_start_that_slurm_has_replaced_leaves_the_job_alone(
    batch: Batch, state: str, restarts: int, cancelled: bool
) -> None:
    process = batch.start(WAITING)
    until(lambda: (batch.run_dir / "up").exists())
    batch.slurm_says(state, restarts)
    if cancelled:
        batch.cancel(process)
    else:
        process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 85
    assert batch.requeues == []
    assert batch.commands.calls("scancel") == []
    requeued = restarts == 1  # measured on 22.05.8: a job that was cancelled is COMPLETING too
    assert ("back into its queue; the next start goes on from step-000001" in batch.log) == (not cancelled and requeued)


def test_without_an_answer_of_slurm_nothing_is_done_to_the_job(batch: Batch) -> None:
    process = batch.start(WAITING)
    until(lambda: (batch.run_dir / "up").exists())
    batch.commands.make("scontrol", stderr="Unable to contact slurm controller (connect failure)\n", code=1)
    batch.cancel(process)
    assert process.wait(60) == 85
    assert batch.commands.calls("scancel") == []


def test_the_mark_of_a_cancel_of_an_earlier_start_is_void(batch: Batch) -> None:
    batch.slurm_says(restarts=1)
    logs = RunDir(batch.run_dir).logs
    logs.mkdir(parents=True)
    (logs / "7.cancel").write_text("")
    assert batch.run("checkpoint(5); sys.exit(85)", SLURM_RESTART_COUNT="1") == 0
    assert len(batch.requeues) == 1


def test_a_second_signal_does_not_part_the_script_from_its_ranks(batch: Batch) -> None:
    process = batch.start(WAITING.replace("stop)", "lambda *_: time.sleep(1))"))
    until(lambda: (batch.run_dir / "up").exists() and (batch.run_dir / "up").read_text() != "")
    for _ in range(3):
        process.send_signal(signal.SIGUSR1)
        time.sleep(0.2)
    assert process.poll() is None
    os.kill(int((batch.run_dir / "up").read_text()), signal.SIGKILL)
    assert process.wait(60) == 137


def test_a_requeue_that_ends_the_processes_of_the_script_is_a_requeue(batch: Batch) -> None:
    scontrol = batch.folder / "bin/scontrol"
    says = scontrol.read_text().partition("\n")[2]
    scontrol.write_text(f"#!/bin/sh\n[ $1 != requeue ] || kill -TERM $$ $PPID\n{says}")
    assert batch.run("checkpoint(5); sys.exit(85)") == 0
    assert "cannot be requeued" not in batch.log
