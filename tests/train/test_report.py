"""What a run tells those who watch it."""

import json
import logging
import resource
import threading
import time
from pathlib import Path

import pytest
from holding import hold
from run_ranks import make_run, run_to_end, state
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from bertjob.errors import LeaseError
from bertjob.rundir.directory import RunDir
from bertjob.rundir.state import RunState, read_state
from bertjob.rundir.world import World
from bertjob.train.backends import StepOutcome
from bertjob.train.reporting.events import EventsFile
from bertjob.train.reporting.heartbeat import Heartbeat, MetricsFile
from bertjob.train.reporting.meter import Reading
from bertjob.train.reporting.report import Report, console_line, metrics_line

FIRST = World(0, 2, 0, 2, "test")
READING = Reading(loss=2.34123, samples_per_second=212.44, tokens_per_second=31000.04, seconds_per_step=0.113)


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path)


def told(run_dir: RunDir, world: World = FIRST) -> Report:
    """A report that has begun, at step 0 of 100."""
    report = Report(hold(run_dir, world.rank), world, "17")
    report.start()
    report.resume(0, 100, evaluations=False)
    return report


def test_the_line_of_a_step_is_aligned():
    assert console_line(40, 134, READING, 3e-5, 191.7) == (
        "step  40/134  loss 2.3412  lr 3.0e-05  212.4 samples/s  eta 0:03:12"
    )


def test_a_metrics_line_leaves_out_what_the_back_end_does_not_tell():
    line = metrics_line(3, READING, 1e-4, StepOutcome(None, skipped=False, loss_scale=None))
    assert list(line) == ["step", "loss", "lr", "samples_per_second", "tokens_per_second", "skipped", "time"]
    scaled = metrics_line(3, READING, 1e-4, StepOutcome(1.5, skipped=True, loss_scale=1024.0))
    assert (scaled["grad_norm"], scaled["loss_scale"], scaled["skipped"]) == (1.5, 1024.0, True)


def test_the_state_follows_the_run(run_dir):
    report = told(run_dir)
    report.phase("training")
    report.logged(40, READING, 3e-5, StepOutcome(1.0, skipped=False, loss_scale=None))
    report.warn("something is odd")
    now = read_state(run_dir.state)
    assert (now.phase, now.step, now.total_steps, now.loss, now.world_size) == ("training", 40, 100, 2.34123, 2)
    assert now.eta_seconds == pytest.approx(60 * 0.113, abs=0.05)
    assert (now.job_id, now.warning) == ("17", "something is odd")
    report.warn("")
    report.end("done", 0, metrics={"exact_match": 1.5, "f1": 2.5})
    now = read_state(run_dir.state)
    assert (now.phase, now.exit_code, now.warning, now.metrics) == ("done", 0, "", {"exact_match": 1.5, "f1": 2.5})


def test_ranks_above_0_tell_nothing(run_dir):
    report = told(run_dir, World(1, 2, 1, 2, "test"))
    report.logged(40, READING, 3e-5, StepOutcome(1.0, skipped=False, loss_scale=None))
    report.end("done", 0)
    assert not list(run_dir.path.iterdir())


def test_a_disk_that_takes_no_more_costs_lines_and_a_warning_each(run_dir, caplog, monkeypatch):
    report = told(run_dir)
    outcome = StepOutcome(1.0, skipped=False, loss_scale=None)
    monkeypatch.setattr(logging.getLogger("bertjob"), "propagate", True)
    monkeypatch.setattr(threading, "excepthook", lambda failure: None)  # TensorBoard's thread ends by this, too
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        for step in range(1, 4):
            report.logged(step, READING, 3e-5, outcome)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    report.logged(4, READING, 3e-5, outcome)
    assert [json.loads(line)["step"] for line in run_dir.metrics.read_text().splitlines()] == [4]
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    for name in ("state.json", "metrics.jsonl"):
        assert warnings.count(f"{run_dir.path / name} cannot be written: File too large; training goes on") == 1
    report.flush()
    report.end("done", 0)
    assert read_state(run_dir.state).phase == "done"


def test_a_line_that_does_not_fit_leaves_no_half_behind(tmp_path):
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    metrics.append({"step": 1, "loss": 1.0})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30, before[1]))
    try:
        with pytest.raises(OSError, match=r"No space left on device|File too large"):
            metrics.append({"step": 2, "loss": 1.0})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    metrics.append({"step": 3, "loss": 1.0})
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step":1,"loss":1.0}\n{"step":3,"loss":1.0}\n'


def test_an_event_that_does_not_fit_leaves_no_half_behind_and_the_next_one_is_written(tmp_path):
    events = EventsFile(tmp_path, 1)
    events.append(1, {"train/loss": 1.0})
    (file,) = tmp_path.iterdir()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 10, before[1]))
    try:
        with pytest.raises(OSError, match=r"No space left on device|File too large"):
            events.append(2, {"train/loss": 1.0})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    events.append(3, {"train/loss": 3.0})
    assert scalars(tmp_path) == {1: 1.0, 3: 3.0}


def test_events_of_steps_that_are_done_again_are_dropped_and_a_start_without_the_lease_adds_none(tmp_path):
    def lost() -> None:
        raise LeaseError("job 7 has taken over")

    checks = [lambda: None]
    former = EventsFile(tmp_path, 1, lambda: checks[0]())
    for step in (1, 2, 3):
        former.append(step, {"train/loss": float(step)})
    EventsFile(tmp_path, 3).append(3, {"train/loss": 30.0})
    checks[0] = lost
    with pytest.raises(LeaseError):
        former.append(4, {"train/loss": 4.0})
    assert scalars(tmp_path) == {1: 1.0, 2: 2.0, 3: 30.0}


def scalars(folder: Path) -> dict[int, float]:
    """The losses that TensorBoard shows, by their steps."""
    events = EventAccumulator(str(folder))
    events.Reload()
    return {scalar.step: scalar.value for scalar in events.Scalars("train/loss")}


def beats(path: Path, work: bool, enough: int, seconds: float) -> int:
    """How often the heartbeat is written in a while of work, or of waiting: until `enough` times, or for `seconds`."""
    heartbeat = Heartbeat(path, RunState(phase="features", time=0.0))
    seen = {path.stat().st_mtime_ns}
    with heartbeat.working():
        deadline = time.monotonic() + seconds
        while len(seen) <= enough and time.monotonic() < deadline:
            if not work:
                time.sleep(0.05)
            seen.add(path.stat().st_mtime_ns)
    return len(seen) - 1


def test_the_heart_beats_in_a_long_phase_while_the_process_works_and_only_then(tmp_path, monkeypatch):
    monkeypatch.setattr("bertjob.train.reporting.heartbeat._WORKING_EVERY_SECONDS", 0.3)
    monkeypatch.setattr("bertjob.train.reporting.heartbeat._BUSY", 0.2)  # waiting, the test itself looks at a file
    assert beats(tmp_path / "busy.json", work=True, enough=2, seconds=60) == 2
    assert beats(tmp_path / "idle.json", work=False, enough=1, seconds=1.5) == 0


def test_between_steps_the_state_is_written_once_a_second_at_most(tmp_path):
    heartbeat = Heartbeat(tmp_path / "state.json", RunState(phase="training", time=0.0))
    for step in range(100):
        heartbeat.beat(step=step)
    assert read_state(tmp_path / "state.json").step == 0
    heartbeat.update(phase="done")
    assert read_state(tmp_path / "state.json").step == 99


def test_tensorboard_has_the_scalars_of_a_run(tmp_path):
    run = make_run(tmp_path / "run", train__log_every=4)
    assert run_to_end(run) == [0]
    events = EventAccumulator(str(run / "tb"))
    events.Reload()
    assert set(events.Tags()["scalars"]) >= {"train/loss", "train/lr", "train/samples_per_second", "eval/f1"}
    assert [scalar.step for scalar in events.Scalars("train/loss")] == [1, 4, 8, 12]
    assert events.Scalars("eval/f1")[0].value == pytest.approx(state(run)["metrics"]["f1"], rel=1e-6)


def test_after_the_last_word_no_thread_overwrites_it(run_dir):
    """A signal ends a run from the watch's thread, while the main thread is still about to say that it starts."""
    report = Report(hold(run_dir), World(0, 1, 0, 1, "test"), "local")
    report.end("checkpointed", 85)
    report.start()
    report.phase("features")
    state = read_state(run_dir.state)
    assert (state.phase, state.exit_code) == ("checkpointed", 85)


def test_what_is_feared_stands_in_the_state_until_it_is_lifted(run_dir):
    report = Report(hold(run_dir), World(0, 1, 0, 1, "test"), "7")
    report.start()
    report.fear("MPI_Init ended the ranks")
    assert read_state(run_dir.state).error == "MPI_Init ended the ranks"
    report.fear("")
    assert read_state(run_dir.state).error == ""
