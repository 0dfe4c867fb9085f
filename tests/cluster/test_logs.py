"""Follow a log and wait for runs: over requeues, to the real end, with few questions to the scheduler."""

import time
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from bertjob.cluster.runs import catalog, logs, watch
from bertjob.cluster.runs.catalog import Run
from bertjob.cluster.runs.logs import Tail
from bertjob.cluster.runs.watch import Watch
from bertjob.cluster.scheduler_answers import Answer, JobInfo, JobState
from bertjob.errors import DataError
from bertjob.rundir.directory import RunDir
from bertjob.rundir.state import Phase, RunState, write_state


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(logs, "_POLL_S", 0.01)
    monkeypatch.setattr(watch, "_POLL_S", 0.01)
    run_dir = RunDir(tmp_path / "squad-1")
    run_dir.logs.mkdir(parents=True)
    return catalog.record(run_dir, job_id="7", site="daint", scheduler="slurm")


def beat(run: Run, phase: Phase) -> None:
    write_state(run.run_dir.state, RunState(phase=phase, time=time.time(), job_id="7"))


class Scheduler:
    """Says one state after the other, the last for ever; `None`: it does not answer."""

    def __init__(self, *states: JobState | None, at: Callable[[int], object] = lambda call: None) -> None:
        self.states = list(states)
        self.calls = 0
        self._at = at

    def __call__(self, runs: Collection[Run]) -> Answer:
        self._at(self.calls)
        state = self.states[min(self.calls, len(self.states) - 1)]
        self.calls += 1
        if state is None:
            return Answer(controller="squeue: Unable to contact slurm controller")
        return Answer({} if state is JobState.UNKNOWN else {run.path: JobInfo(state) for run in runs})


class Clock:
    """Some seconds go by each time it is read."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def test_a_tail_reads_what_is_added_cut_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "log"
    tail = Tail(path)
    assert tail.read() == ""
    path.write_bytes("one é".encode()[:-1])
    assert tail.read() == "one "  # half of a character waits for its other half
    with path.open("ab") as file:
        file.write("é".encode()[1:] + b" two")
    assert tail.read() == "é two"
    path.write_text("cut")
    assert tail.read() == "cut"
    (tmp_path / "new").write_text("a longer text in another file")
    (tmp_path / "new").replace(path)
    assert tail.read() == "a longer text in another file"
    assert tail.read() == ""


def test_bytes_that_are_no_text_do_not_stop_it(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"\xff\xfeok\n")
    assert Tail(tmp_path / "log").read().endswith("ok\n")


def test_follow_waits_for_the_file_and_goes_on_over_requeues(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "ASK_EVERY_S", 0.05)

    def what_happens(call: int) -> None:
        if call in (2, 4):  # the log comes after the job, and is appended to
            with run.run_dir.log("7").open("a") as log:
                log.write(f"start {call}\n")

    states = [JobState.PENDING, JobState.PENDING, JobState.RUNNING, JobState.PENDING, JobState.RUNNING]
    scheduler = Scheduler(*states, JobState.COMPLETED, at=what_happens)
    assert "".join(logs.follow(run, ask=scheduler)) == "start 2\nstart 4\n"


def test_follow_of_a_job_that_is_over_prints_all_and_ends(run: Run) -> None:
    run.run_dir.log("7").write_text("all\n")
    run.run_dir.log("7", 3).write_text("rank 3\n")
    scheduler = Scheduler(JobState.FAILED)
    assert list(logs.follow(run, ask=scheduler)) == ["all\n"]
    assert list(logs.follow(run, rank=3, ask=scheduler)) == ["rank 3\n"]
    assert scheduler.calls == 2


def test_a_log_that_is_not_there_names_those_that_are(run: Run) -> None:
    with pytest.raises(DataError, match="nor any other"):
        logs.read(run)
    run.run_dir.log("7").write_text("text")
    assert logs.read(run) == "text"
    with pytest.raises(DataError, match=r"7\.5\.out: there is no such log; there are 7\.out"):
        logs.read(run, rank=5)


def test_a_requeue_is_no_end(run: Run) -> None:
    beat(run, "checkpointed")
    scheduler = Scheduler(JobState.RUNNING, JobState.PENDING, JobState.RUNNING, JobState.COMPLETED)
    seen = Watch([run], scheduler, Clock(11))
    assert [dict(seen.look()) for _ in range(3)] == [{}, {}, {}]
    assert seen.look()[run.path].word == "completed"


def test_the_scheduler_is_asked_every_ten_seconds_however_often_one_looks(run: Run) -> None:
    beat(run, "training")
    scheduler = Scheduler(JobState.RUNNING)
    seen = Watch([run], scheduler, Clock(0.5))
    for _ in range(200):  # 100 seconds by that clock, which a look reads at most three times
        seen.look()
    assert 8 <= scheduler.calls <= 31


def test_the_end_of_the_training_brings_one_question_forward(run: Run) -> None:
    scheduler = Scheduler(JobState.RUNNING)
    clock = Clock(0)
    seen = Watch([run], scheduler, clock)
    seen.look()
    beat(run, "done")
    for clock.now in (1.0, 2.0, 3.0, 3.5, 4.0, 8.0, 12.0):
        seen.look()
    assert scheduler.calls == 2  # at 0 and at 3, two seconds after the training was seen to end
    clock.now = 13.0
    seen.look()
    assert scheduler.calls == 3


def test_wait_tells_success_from_failure(run: Run) -> None:
    assert [o.success for o in watch.wait([run], ask=Scheduler(JobState.COMPLETED))] == [True]
    assert [o.word for o in watch.wait([run, run], ask=Scheduler(JobState.TIMEOUT))] == ["timeout", "timeout"]


def test_wait_trusts_a_training_that_says_done_when_nobody_else_answers(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    looks: list[int] = []

    def look() -> None:
        looks.append(1)
        if len(looks) == 20:
            beat(run, "done")

    beat(run, "training")
    assert watch.wait([run], look, ask=Scheduler(None))[0].success
    assert len(looks) == 20
    assert [record.message for record in caplog.records] == [
        "squeue: Unable to contact slurm controller; watching the run's own heartbeat"
    ]


def test_wait_does_not_take_a_failure_for_the_end_while_the_job_may_be_requeued(run: Run) -> None:
    beat(run, "failed")
    seen = Watch([run], Scheduler(None, JobState.PENDING, JobState.UNKNOWN), Clock(11))
    assert [dict(seen.look()) for _ in range(2)] == [{}, {}]
    assert seen.look()[run.path].word == "failed"


def test_wait_ends_with_the_training_where_only_the_accounting_says_that_the_job_runs(run: Run) -> None:
    def accounting(runs: Collection[Run]) -> Answer:
        return Answer({run.path: JobInfo(JobState.RUNNING, confirmed=False)}, controller="squeue: away")

    seen = Watch([run], accounting, Clock(11))
    beat(run, "training")
    assert seen.look() == {}
    beat(run, "done")
    assert seen.look()[run.path].success
