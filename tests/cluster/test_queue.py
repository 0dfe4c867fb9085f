"""What is made of squeue's and sacct's words; outputs were recorded from Slurm 22.05.8."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest
from fakes.commands import Commands
from msgspec.structs import replace

from bertjob.cluster.process import Reply, one_line
from bertjob.cluster.runs.catalog import Run
from bertjob.cluster.scheduler_answers import Answer, JobInfo, JobState
from bertjob.cluster.slurm import queue
from bertjob.errors import BertjobError, SchedulerError
from bertjob.rundir.submissions import Submission

SQUEUE = """\
1|COMPLETED|nid00001|None
2|FAILED|nid00001|NonZeroExitCode
4|PENDING||Resources
5|PENDING||Priority
6|PENDING||PartitionTimeLimit
3|RUNNING|nid[00001-00004]|None
"""
SACCT = """\
1|COMPLETED|nid00001|0:0
2|FAILED|nid00001|0:9
3|CANCELLED by 0|nid[00001-00004]|0:15
4|RUNNING|nid[00001-00004]|0:0
5|PENDING|None assigned|0:0
6|PENDING|None assigned|0:0
"""
CONTROLLER_AWAY = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n"
NO_ACCOUNTING = "Slurm accounting storage is disabled\n"
ACCOUNTING_AWAY = """\
sacct: error: slurm_persist_conn_open_without_init: failed to open persistent connection to host:10.0.0.1:6819
sacct: error: Sending PersistInit msg: Connection refused
sacct: error: Problem talking to the database: Connection refused
"""
REFUSED = """\
sbatch: error: Memory specification can not be satisfied
sbatch: error: Batch job submission failed: Requested node configuration is not available
"""


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    commands = Commands(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{commands.folder}:/usr/bin:/bin")
    commands.make("squeue", SQUEUE)
    commands.make("sacct", SACCT)
    return commands


def test_squeue_tells_state_nodes_and_reason() -> None:
    jobs = queue.parse_squeue(SQUEUE)
    assert jobs["3"] == JobInfo(JobState.RUNNING, "nid[00001-00004]")
    assert jobs["4"] == JobInfo(JobState.PENDING, "", "Resources")
    assert jobs["2"] == JobInfo(JobState.FAILED, "nid00001", "NonZeroExitCode")


def test_reasons_may_hold_any_character() -> None:
    line = "7|PENDING||Nodes required for job are DOWN, DRAINED | reserved\n"
    assert queue.parse_squeue(line)["7"].reason == "Nodes required for job are DOWN, DRAINED | reserved"


def test_sacct_tells_who_cancelled_after_the_state() -> None:
    jobs = queue.parse_sacct(SACCT)
    assert jobs["3"].state is JobState.CANCELLED
    assert jobs["5"] == JobInfo(JobState.PENDING)


def test_sacct_tells_which_signal_ended_the_script_and_squeue_does_not() -> None:
    accounted = queue.parse_sacct(SACCT)
    jobs = queue.combine(queue.parse_squeue(SQUEUE), accounted, controller_answered=True)
    assert jobs["2"] == JobInfo(JobState.FAILED, "nid00001", "NonZeroExitCode", signal=9)
    assert accounted["3"].signal == 0  # which scancel has sent


@pytest.mark.parametrize("output", ["", "\n", "slurm is upgraded, come back later\n", "1|COMPLETED\n", "|||\n||\n"])
def test_other_output_is_no_job_and_no_crash(output: str) -> None:
    assert not {job for job in (queue.parse_squeue(output) | queue.parse_sacct(output)) if job}


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("COMPLETED", JobState.COMPLETED),
        ("CANCELLED+", JobState.CANCELLED),
        ("CANCELLED by 1000", JobState.CANCELLED),
        ("OUT_OF_MEMORY", JobState.OUT_OF_MEMORY),
        ("REQUEUED", JobState.PENDING),
        ("CONFIGURING", JobState.PENDING),
        ("EXPEDITING", JobState.UNKNOWN),
        ("", JobState.UNKNOWN),
    ],
)
def test_words_become_states_and_new_words_are_unknown(word: str, state: JobState) -> None:
    assert queue.read_state(word) is state


def test_an_unknown_state_is_neither_live_nor_ended() -> None:
    assert not JobState.UNKNOWN.live
    assert not JobState.UNKNOWN.ended
    assert all(state.live != state.ended for state in JobState if state is not JobState.UNKNOWN)


def known(word: str) -> dict[str, JobInfo]:
    return {"1": JobInfo(queue.read_state(word))}


@pytest.mark.parametrize("accounting", ["NODE_FAIL", "PREEMPTED", "REQUEUED", "FAILED", "COMPLETED"])
def test_squeue_wins_for_a_job_that_came_back(accounting: str) -> None:
    jobs = queue.combine(known("PENDING"), known(accounting), controller_answered=True)
    assert jobs["1"].state is JobState.PENDING


def test_what_the_queue_forgot_is_in_the_accounting() -> None:
    assert queue.combine({}, known("TIMEOUT"), controller_answered=True)["1"].state is JobState.TIMEOUT


def test_node_failure_is_final_only_when_a_controller_that_answers_has_forgotten_the_job() -> None:
    assert queue.combine({}, known("NODE_FAIL"), controller_answered=True)["1"].state is JobState.NODE_FAIL
    assert "1" not in queue.combine({}, known("NODE_FAIL"), controller_answered=False)


def test_a_record_that_nobody_closed_is_not_running() -> None:
    assert "1" not in queue.combine({}, known("RUNNING"), controller_answered=True)
    found = queue.combine({}, known("RUNNING"), controller_answered=False)["1"]
    assert (found.state, found.confirmed) == (JobState.RUNNING, False)  # it may be over by now


def of(*job_ids: str) -> list[Run]:
    """Runs that Slurm knows by these ids."""
    return [
        Run(f"/runs/{job_id}", Submission(job_id=job_id, site="x", scheduler="slurm", time=0.0, host="h"))
        for job_id in job_ids
    ]


def state(answer: Answer, job_id: str) -> JobState:
    return answer.job(of(job_id)[0]).state


def test_one_call_each_for_all_jobs(commands: Commands) -> None:
    answer = queue.query(of("1", "2", "3", "99"))
    assert [len(commands.calls(name)) for name in ("squeue", "sacct")] == [1, 1]
    assert state(answer, "3") is JobState.RUNNING
    assert state(answer, "99") is JobState.UNKNOWN


def test_no_jobs_no_call(commands: Commands) -> None:
    assert queue.query([]) == Answer()
    assert commands.calls("squeue") == commands.calls("sacct") == []


@contextmanager
def python_calls() -> Iterator[Callable[[], int]]:
    """Counts the calls of Python functions inside: the work, which does not depend on what else the machine does."""
    made = 0

    def count(_frame: FrameType, event: str, _value: object) -> None:
        nonlocal made
        made += event == "call"

    sys.setprofile(count)
    try:
        yield lambda: made
    finally:
        sys.setprofile(None)


def test_ten_thousand_jobs_are_one_call_each_and_little_work(commands: Commands) -> None:
    ids = [str(30_000_000 + number) for number in range(10_000)]
    commands.make("squeue", "".join(f"{i}|RUNNING|nid[00001-00004]|None\n" for i in ids))
    commands.make("sacct", "".join(f"{i}|RUNNING|nid[00001-00004]\n" for i in ids))
    runs = of(*ids)
    with python_calls() as made:
        answer = queue.query(runs)
    assert len(answer.jobs) == len(ids)
    assert [len(commands.calls(name)) for name in ("squeue", "sacct")] == [1, 1]
    for name in ("squeue", "sacct"):  # the kernel takes 128 KiB an argument
        assert max(len(word) for word in commands.calls(name)[0]) < 2**17
    assert made() < 5 * len(ids)


def test_jobs_are_asked_for_by_number_while_that_is_short(commands: Commands) -> None:
    queue.query(of("7", "8"))
    assert "--jobs=7,8" in commands.calls("squeue")[0]
    queue.query(of(*(str(number) for number in range(2000))))
    assert f"--user={os.getuid()}" in commands.calls("squeue")[1]


def test_what_would_change_slurms_answers_stays_out_of_its_environment(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    leftovers = {"SQUEUE_PARTITION": "gpu", "SLURM_TIME_FORMAT": "%s", "SBATCH_ACCOUNT": "x", "SLURM_JOB_ID": "3"}
    for name, value in {**leftovers, "SLURM_CONF": "/etc/there.conf"}.items():
        monkeypatch.setenv(name, value)
    queue.query(of("1"))
    environment = commands.environment("squeue")
    assert environment["SLURM_CONF"] == "/etc/there.conf"
    assert not leftovers.keys() & environment.keys()


@pytest.mark.parametrize(
    ("complaint", "line"),
    [
        (NO_ACCOUNTING, "sacct: Slurm accounting storage is disabled"),
        (
            ACCOUNTING_AWAY,
            "sacct: slurm_persist_conn_open_without_init: failed to open persistent connection to host:10.0.0.1:6819;"
            " Sending PersistInit msg: Connection refused; Problem talking to the database: Connection refused",
        ),
    ],
)
def test_without_accounting_the_queue_answers(commands: Commands, complaint: str, line: str) -> None:
    commands.make("sacct", stderr=complaint, code=1)
    answer = queue.query(of("1", "3"))
    assert state(answer, "3") is JobState.RUNNING
    assert (answer.controller, answer.accounting) == ("", line)


def test_all_commands_together_have_the_time_that_one_may_take(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, given = [0.0], []

    def hang(started: object, seconds: float) -> Reply:
        given.append(seconds)
        now[0] += seconds
        return Reply(error=f"no answer within {seconds:g} s")

    monkeypatch.setattr("bertjob.cluster.slurm.queue.time.monotonic", lambda: now[0])
    monkeypatch.setattr("bertjob.cluster.slurm.queue.process.finish", hang)
    assert "no answer within 9 s" in queue.query(of("1"), 9.0).controller
    assert given == [9.0, 0.5]


def test_without_controller_the_accounting_answers(commands: Commands) -> None:
    commands.make("squeue", stderr=CONTROLLER_AWAY, code=1)
    answer = queue.query(of("1", "99"))
    assert state(answer, "1") is JobState.COMPLETED
    assert state(answer, "99") is JobState.UNKNOWN
    assert answer.controller == "squeue: Unable to contact slurm controller (connect failure)"


def test_a_single_job_that_the_queue_forgot_is_no_failure_of_squeue(commands: Commands) -> None:
    commands.make("squeue", stderr="slurm_load_jobs error: Invalid job id specified\n", code=1)
    answer = queue.query(of("2"))
    assert (answer.controller, state(answer, "2")) == ("", JobState.FAILED)


def test_machines_without_slurm_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    answer = queue.query(of("1"))
    assert state(answer, "1") is JobState.UNKNOWN
    assert answer.controller == "squeue: there is no command squeue on this machine"


def test_a_command_that_hangs_is_ended(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    (commands.folder / "squeue").write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(queue, "_TIMEOUT_S", 0.2)
    answer = queue.query(of("1"))
    assert answer.controller == "squeue: no answer within 0.2 s"
    assert state(answer, "1") is JobState.COMPLETED


def test_refusals_are_one_line_in_slurms_words() -> None:
    assert one_line(REFUSED) == (
        "Memory specification can not be satisfied;"
        " Batch job submission failed: Requested node configuration is not available"
    )
    assert one_line("") == ""


def test_cancel_is_one_call_and_says_why_not(commands: Commands, tmp_path: Path) -> None:
    commands.make("scancel")
    queue.cancel(of("1", "2"), at_once=True)
    assert commands.calls("scancel") == [["1", "2"]]
    assert len(commands.calls("squeue")) == 1  # whose they are
    running, *others = of("3", "4", "99")  # one that runs, one that waits, one that nobody knows
    running = replace(running, path=str(tmp_path))
    (tmp_path / "logs").mkdir()
    queue.cancel([running, *others], at_once=False)
    assert commands.calls("scancel")[1:] == [["--batch", "--signal=TERM", "3"], ["4", "99"]]
    assert running.run_dir.cancellation("3").exists()
    commands.make("scancel", stderr="scancel: error: Kill job error on job id 1: Access/permission denied\n", code=1)
    with pytest.raises(SchedulerError, match=r"^scancel: Kill job error on job id 1: Access/permission denied$"):
        queue.cancel(of("1"), at_once=True)


def test_a_job_whose_run_directory_is_gone_is_cancelled_outright(commands: Commands) -> None:
    commands.make("scancel")
    queue.cancel(of("3"), at_once=False)
    assert commands.calls("scancel") == [["3"]]


def test_a_cancel_that_cannot_leave_its_mark_is_refused(commands: Commands, tmp_path: Path) -> None:
    commands.make("scancel")
    (run,) = of("3")
    run = replace(run, path=str(tmp_path))
    run.run_dir.cancellation("3").mkdir(parents=True)  # a file that cannot be written
    with pytest.raises(BertjobError, match=r"3\.cancel: is a directory: .* `bertjob cancel --now` ends it$"):
        queue.cancel([run], at_once=False)
    assert commands.calls("scancel") == []


@pytest.mark.parametrize("code", [0, 1])
def test_scancel_has_cancelled_nothing_that_it_complains_about_whatever_its_exit_code(
    commands: Commands, code: int
) -> None:
    commands.make("scancel", stderr="scancel: error: Kill job error on job id 4: Access/permission denied\n", code=code)
    with pytest.raises(SchedulerError, match="scancel: Kill job error on job id 4: Access/permission denied"):
        queue.cancel(of("4"), at_once=True)


@pytest.mark.parametrize("told", ["Invalid job id specified", "Job/step already completing or completed"])
@pytest.mark.parametrize("code", [0, 1])
def test_a_job_that_is_over_is_no_fault_of_scancel(commands: Commands, told: str, code: int) -> None:
    commands.make("scancel", stderr=f"scancel: error: Kill job error on job id 4: {told}\n", code=code)
    queue.cancel(of("4"), at_once=True)


def test_a_job_that_may_not_have_got_the_signal_is_not_killed_without_its_checkpoint(
    commands: Commands, tmp_path: Path
) -> None:
    (tmp_path / "logs").mkdir()
    run = replace(of("3")[0], path=str(tmp_path))
    commands.make("scancel", stderr="scancel: error: Kill job error on job id 3: Socket timed out\n", code=1)
    with pytest.raises(SchedulerError, match="Socket timed out: `bertjob cancel` asks again"):
        queue.cancel([run], at_once=False)
    assert commands.calls("scancel") == [["--batch", "--signal=TERM", "3"]]
    assert not run.run_dir.cancellation("3").exists()
