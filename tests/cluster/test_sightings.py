"""Heartbeats of nodes whose clocks differ: what was seen to change is at work, what was not may hang."""

import socket
from pathlib import Path

import msgspec
import pytest

from bertjob.cluster.runs.catalog import Run
from bertjob.cluster.runs.outcome import LOST, STALE_S, Outcome, outcome
from bertjob.cluster.runs.sightings import Sightings
from bertjob.cluster.runs.status import Row, rows
from bertjob.cluster.scheduler_answers import UNKNOWN, Answer, JobInfo, JobState
from bertjob.rundir.state import RunState
from bertjob.rundir.submissions import Submission

NOW = 1_000_000.0
RUN = Run("/runs/squad-7", Submission(job_id="7", site="x", scheduler="slurm", time=NOW - 9000, host="login1"))
SKEWS = [-900.0, -300.0, -10.0, 0.0, 10.0, 300.0, 900.0]
"""Seconds by which the node's clock is ahead of ours."""


def seen(sightings: Sightings, now: float, written: float, skew: float) -> Row:
    """What status shows at `now` of a heartbeat that was written at another moment, by the clock of a node."""
    states = {RUN.path: RunState(phase="training", time=written + skew, job_id="7", eta_seconds=5000.0)}
    silences = sightings.look([RUN], states, now)
    return rows([RUN], Answer({RUN.path: JobInfo(JobState.RUNNING)}), states, silences)[0]


@pytest.mark.parametrize("skew", SKEWS)
def test_a_run_at_work_never_seems_to_hang_and_is_known_from_its_second_heartbeat(skew: float) -> None:
    sightings = Sightings()
    for look in range(20):
        now = NOW + 60 * look
        row = seen(sightings, now, now - 20, skew)
        assert not row.stale
        assert not (look and row.unsure)
        if look:
            assert row.heartbeat_seconds is not None
            assert 0 <= row.heartbeat_seconds <= 60


@pytest.mark.parametrize("skew", SKEWS)
def test_a_run_that_hangs_is_known_two_minutes_after_the_first_look(skew: float) -> None:
    sightings = Sightings()
    first = seen(sightings, NOW, NOW - 5, skew)
    assert not first.stale
    assert not seen(sightings, NOW + STALE_S - 1, NOW - 5, skew).stale
    late = seen(sightings, NOW + STALE_S + 1, NOW - 5, skew)
    assert late.stale
    assert not late.unsure


def test_what_no_clock_can_explain_needs_no_second_look() -> None:
    assert seen(Sightings(), NOW, NOW - 7200, 0.0).stale
    row = seen(Sightings(), NOW, NOW - 400, 0.0)
    assert (row.stale, row.unsure, row.heartbeat_seconds) == (False, True, 400.0)


@pytest.mark.parametrize("skew", SKEWS)
@pytest.mark.parametrize("beats", [True, False])
def test_a_local_run_elsewhere_is_lost_only_once_it_was_seen_to_be_silent(skew: float, beats: bool) -> None:
    """Its process cannot be asked from here; it may not have written a heartbeat yet."""
    submitted = Submission(job_id="local", site="x", scheduler="none", time=NOW + skew, host="elsewhere", pid=1)
    run, sightings = Run("/runs/squad", submitted), Sightings()
    states = {run.path: RunState(phase="training", time=NOW + skew, job_id="local") if beats else None}

    def stands(now: float) -> str:
        return rows([run], Answer({run.path: UNKNOWN}), states, sightings.look([run], states, now))[0].state

    assert [stands(NOW), stands(NOW + STALE_S - 1), stands(NOW + STALE_S + 1)] == ["running", "running", "lost"]


def test_of_a_run_that_was_submitted_here_our_clock_is_the_one_that_counts() -> None:
    here = msgspec.structs.replace(RUN.submission, host=socket.gethostname(), time=NOW)
    run, states = Run(RUN.path, here), {RUN.path: None}
    silences = [Sightings().look([run], states, NOW + seconds)[run.path].certain for seconds in (60, STALE_S + 1)]
    assert [outcome(run, UNKNOWN, None, certain) for certain in silences] == [None, Outcome(False, LOST)]


def test_one_command_goes_on_from_what_another_has_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("bertjob.cluster.runs.sightings.time.time", lambda: NOW)
    sightings = Sightings.remembered()
    seen(sightings, NOW, NOW, 300.0)
    sightings.remember()
    assert seen(Sightings.remembered(), NOW + STALE_S + 1, NOW, 300.0).stale
    (file,) = (tmp_path / "bertjob").iterdir()
    file.write_text("{")
    assert not seen(Sightings.remembered(), NOW + STALE_S + 1, NOW, 300.0).stale


def test_a_clock_that_was_set_back_counts_for_nothing() -> None:
    sightings = Sightings()
    seen(sightings, NOW, NOW, 0.0)
    assert not seen(sightings, NOW - 5000, NOW, 0.0).stale
    assert not seen(sightings, NOW - 5000 + STALE_S - 1, NOW, 0.0).stale
    assert seen(sightings, NOW - 5000 + STALE_S + 1, NOW, 0.0).stale
