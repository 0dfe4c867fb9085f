"""Cancelled runs end: with a checkpoint in time, without one otherwise; a simulated clock."""

import time
from collections.abc import Callable, Collection
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from bertjob.cli.main import cli
from bertjob.cluster import scheduler
from bertjob.cluster.runs import cancel, catalog
from bertjob.cluster.runs.catalog import Run
from bertjob.cluster.runs.outcome import STALE_S
from bertjob.cluster.scheduler_answers import Answer, JobInfo, JobState
from bertjob.rundir.directory import RunDir
from bertjob.rundir.state import RunState, write_state
from bertjob.rundir.submissions import Submission


class Cluster:
    """One job, a clock that moves when somebody waits, and what is done to the job."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.run = Run(str(folder), Submission(job_id="7", site="x", scheduler="slurm", time=0.0, host="h"))
        self.run.run_dir.checkpoints.mkdir()
        self.now = 0.0
        self.at: dict[float, Callable[[], object]] = {}
        self.state = JobState.RUNNING
        self.cancels: list[tuple[float, bool]] = []
        self.notices: list[str] = []
        monkeypatch.setattr(scheduler, "cancel", self.cancelled)

    def cancelled(self, runs: Collection[Run], *, at_once: bool = False) -> None:
        assert [run.submission.job_id for run in runs] == ["7"]
        self.cancels.append((self.now, at_once))
        if at_once:
            self.state = JobState.CANCELLED

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for moment in [moment for moment in self.at if moment <= self.now]:
            self.at.pop(moment)()

    def checkpoint(self) -> None:
        self.run.run_dir.latest.write_text("step-000009\n")

    def end(self) -> None:
        self.state = JobState.CANCELLED

    def stop(self, grace: float = cancel.GRACE_S) -> str:
        (outcome,) = cancel.see_to_the_end(
            cancel.ask_to_stop([self.run]),
            grace,
            self.notices.append,
            ask=lambda runs: Answer({run.path: JobInfo(self.state) for run in runs}),
            clock=lambda: self.now,
            sleep=self.sleep,
        )
        return outcome.word


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return Cluster(tmp_path, monkeypatch)


def beat(cluster: Cluster, seconds_ago: float = 0.0) -> None:
    write_state(cluster.run.run_dir.state, RunState(phase="training", time=time.time() - seconds_ago, job_id="7"))


def test_a_run_that_writes_its_checkpoint_in_time_is_left_to_end(cluster: Cluster) -> None:
    cluster.at = {20.0: cluster.checkpoint, 90.0: cluster.end}
    assert cluster.stop() == "cancelled"
    assert cluster.cancels == [(0.0, False)]
    assert cluster.notices == []
    assert cancel.latest(cluster.run) == "step-000009"


def test_a_run_without_a_checkpoint_is_named_after_a_minute_and_ended_after_the_grace(cluster: Cluster) -> None:
    beat(cluster)
    assert cluster.stop(grace=100) == "cancelled"
    assert cluster.cancels == [(0.0, False), (100.0, True)]
    assert [line.partition(": ")[2] for line in cluster.notices] == [
        "no checkpoint after 60 s; it is ended without one after 100 s",
        "it has not ended within 100 s; ended at once",
    ]


def test_a_run_whose_heartbeat_has_stopped_gets_no_grace(cluster: Cluster) -> None:
    beat(cluster, seconds_ago=STALE_S + 60)
    assert cluster.stop() == "cancelled"
    assert cluster.cancels == [(0.0, False), (45.0, True)]
    assert cluster.notices[0].endswith("its heartbeat has stopped; ended at once")


def test_a_node_whose_clock_is_behind_is_no_run_that_hangs(cluster: Cluster) -> None:
    beat(cluster, seconds_ago=STALE_S + 60)
    cluster.at = {
        3.0: lambda: beat(cluster, seconds_ago=STALE_S + 57),
        30.0: cluster.checkpoint,
        40.0: cluster.end,
    }
    assert cluster.stop() == "cancelled"
    assert cluster.cancels == [(0.0, False)]


def test_a_scheduler_that_is_away_is_asked_once_and_not_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "run").mkdir()
    catalog.record(RunDir(tmp_path / "run"), job_id="7", site="x", scheduler="slurm")
    asked: list[float] = []

    def away(runs: Collection[Run], patience: float) -> Answer:
        asked.append(patience)
        return Answer(controller="squeue: no answer within 9 s")

    slurm = msgspec.structs.replace(scheduler.CLIENTS["slurm"], query=away, cancel=None)
    monkeypatch.setattr(scheduler, "CLIENTS", {"slurm": slurm})
    for words in (["cancel", "7"], ["cancel", "--now", "7"]):
        done = CliRunner().invoke(cli, words)
        assert str(done.exception) == "squeue: no answer within 9 s"
    assert asked == [9.0, 9.0]


def test_a_grace_below_a_minute_holds(cluster: Cluster) -> None:
    beat(cluster)
    assert cluster.stop(grace=5) == "cancelled"
    assert cluster.cancels == [(0.0, False), (5.0, True)]
    assert len(cluster.notices) == 1
