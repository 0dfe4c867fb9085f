"""Rows of status and outcomes of runs: a table of what the scheduler, the heartbeat and the process may say."""

import os
import time
from collections.abc import Collection
from pathlib import Path

import msgspec
import pytest

from bertjob.cluster.runs import catalog
from bertjob.cluster.runs.catalog import Run
from bertjob.cluster.runs.outcome import outcome, own_state
from bertjob.cluster.runs.sightings import Silence
from bertjob.cluster.runs.status import Row, Status, rows, status
from bertjob.cluster.scheduler_answers import GONE, UNKNOWN, Answer, JobInfo, JobState
from bertjob.rundir.directory import RunDir
from bertjob.rundir.state import Phase, RunState, write_state
from bertjob.rundir.submissions import Submission

NOW = 1_000_000.0


def run(job_id: str = "7", host: str = "login1", submitted: float = NOW - 1000) -> Run:
    scheduler = "none" if job_id == "local" else "slurm"
    return Run(
        f"/runs/squad-{job_id}",
        Submission(job_id=job_id, site="daint", scheduler=scheduler, time=submitted, host=host, pid=1),
    )


def state(phase: Phase = "training", seconds: float = 10, job_id: str = "7") -> RunState:
    return RunState(
        phase=phase,
        time=NOW - seconds,
        job_id=job_id,
        step=40,
        total_steps=100,
        loss=1.5,
        samples_per_second=12.0,
        eta_seconds=300.0,
    )


def row(said: JobState | None, beat: RunState | None, *, who: Run | None = None, controller: str = "") -> Row:
    who = who or run()
    jobs = {} if said is None else {who.path: JobInfo(said, "nid00001", "Resources" if said.live else "")}
    return rows([who], Answer(jobs, controller), {who.path: beat}, silent(who, beat))[0]


def silent(who: Run, beat: RunState | None) -> dict[str, Silence]:
    """Of a run that was watched since its last word, or since it was submitted."""
    own = own_state(who, beat)
    seconds = NOW - (who.submission.time if own is None else own.time)
    return {who.path: Silence(seconds, seconds)}


def test_a_running_job_shows_its_heartbeat() -> None:
    shown = row(JobState.RUNNING, state())
    assert (shown.state, shown.phase, shown.step, shown.total_steps) == ("running", "training", 40, 100)
    assert (shown.loss, shown.samples_per_second, shown.heartbeat_seconds) == (1.5, 12.0, 10.0)
    assert shown.eta_seconds == 290.0  # 300 s were left ten seconds ago
    assert not shown.stale


def test_a_heartbeat_older_than_two_minutes_is_flagged_while_the_job_runs() -> None:
    assert row(JobState.RUNNING, state(seconds=121)).stale
    assert not row(JobState.RUNNING, state(seconds=119)).stale
    assert not row(JobState.PENDING, state(seconds=9000)).stale
    assert not row(JobState.COMPLETED, state(seconds=9000)).stale


def test_a_pending_job_says_why_and_how_far_it_came() -> None:
    shown = row(JobState.PENDING, state("checkpointed"))
    assert (shown.state, shown.reason, shown.phase, shown.step) == ("pending", "Resources", "checkpointed", 40)
    assert (shown.samples_per_second, shown.eta_seconds, shown.heartbeat_seconds) == (None, None, None)


def test_a_heartbeat_of_a_job_before_is_not_this_jobs() -> None:
    shown = row(JobState.RUNNING, state(seconds=9000, job_id="6"))
    assert (shown.stale, shown.heartbeat_seconds, shown.step) == (False, None, 40)


def test_without_a_heartbeat_nothing_is_made_up() -> None:
    shown = row(JobState.PENDING, None)
    assert (shown.phase, shown.step, shown.loss, shown.eta_seconds) == (None, None, None, None)


PHASES: list[Phase | None] = [None, "starting", "training", "evaluating", "checkpointed", "failed"]


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("controller", ["", "Unable to contact slurm controller (connect failure)"])
def test_an_unknown_job_is_never_completed_unless_its_training_said_done(phase: Phase | None, controller: str) -> None:
    beat = None if phase is None else state(phase)
    assert row(None, beat, controller=controller).state != "completed"
    assert row(None, state("done"), controller=controller).state == "completed"


def of_job(said: JobState | None, beat: RunState | None, *, answered: bool = True) -> str | None:
    silence = silent(run(), beat)[run().path]
    found = outcome(run(), JobInfo(said or JobState.UNKNOWN, asked=answered), beat, silence.certain)
    return found and found.word


@pytest.mark.parametrize(
    ("said", "beat", "answered", "word"),
    [
        (JobState.RUNNING, state("done"), True, None),  # the script has not ended yet
        (JobState.PENDING, state("checkpointed"), True, None),  # requeued
        (JobState.COMPLETED, None, True, "completed"),
        (JobState.COMPLETED, state("training"), True, "completed"),
        (JobState.TIMEOUT, state("training"), True, "timeout"),
        (JobState.NODE_FAIL, state("training"), True, "node_fail"),
        (None, state("failed"), True, "failed"),
        (None, state("failed"), False, None),  # it may be requeued
        (None, state("checkpointed"), True, "interrupted"),
        (None, state("checkpointed"), False, None),
        (None, state("training"), True, None),  # the heartbeat is fresh: somebody is wrong, wait
        (None, state("training", seconds=500), True, "lost"),
        (None, state("training", seconds=500), False, None),
        (None, None, True, "lost"),
        (None, state("done", job_id="6"), True, "lost"),  # another job's word
    ],
)
def test_how_a_job_ended(said: JobState | None, beat: RunState | None, answered: bool, word: str | None) -> None:
    assert of_job(said, beat, answered=answered) == word


@pytest.mark.parametrize(
    ("beat", "info", "word"),
    [
        (state(job_id="local"), JobInfo(JobState.RUNNING), "running"),
        (None, JobInfo(JobState.RUNNING), "running"),
        (state(job_id="local"), GONE, "lost"),
        (None, GONE, "lost"),
        (state("done", job_id="local"), GONE, "completed"),
        (state("failed", job_id="local"), GONE, "failed"),
        (state("checkpointed", job_id="local"), GONE, "interrupted"),
        (state("done", seconds=5000, job_id="local"), GONE, "lost"),  # of the start before this one
        (state(job_id="local"), UNKNOWN, "running"),  # its process is not to be seen from here
        (state(seconds=500, job_id="local"), UNKNOWN, "lost"),
    ],
)
def test_how_a_local_run_stands(beat: RunState | None, info: JobInfo, word: str) -> None:
    who = run("local")
    assert rows([who], Answer({who.path: info}), {who.path: beat}, silent(who, beat))[0].state == word


def test_one_question_for_all_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    found = [_recorded(tmp_path, name, job_id) for name, job_id in (("a", "1"), ("b", "2"), ("c", "local"))]
    write_state(found[1].run_dir.state, RunState(phase="training", time=time.time(), job_id="2", step=3, total_steps=9))
    asked: list[list[Run]] = []

    def ask(runs: Collection[Run]) -> Answer:
        asked.append(list(runs))
        jobs = {found[1].path: JobInfo(JobState.RUNNING), found[2].path: GONE}
        return Answer(jobs, accounting="sacct: Slurm accounting storage is disabled")

    shown = status(found, ask)
    assert asked == [found]
    assert [(line.job_id, line.state, line.step) for line in shown.rows] == [
        ("1", "unknown", None),
        ("2", "running", 3),
        ("local", "lost", None),
    ]
    assert shown.notes == ["sacct: Slurm accounting storage is disabled"]
    assert msgspec.json.decode(msgspec.json.encode(shown.rows[1]))["run_dir"] == found[1].path


def _recorded(tmp_path: Path, name: str, job_id: str) -> Run:
    folder = RunDir(tmp_path / name)
    folder.path.mkdir()
    return catalog.record(
        folder, job_id=job_id, site="x", scheduler="none" if job_id == "local" else "slurm", pid=2**22
    )


def test_a_controller_that_is_away_is_a_note() -> None:
    def ask(runs: Collection[Run]) -> Answer:
        return Answer({run().path: JobInfo(JobState.RUNNING)}, controller="squeue: Unable to contact slurm controller")

    assert status([run()], ask) == Status(
        rows([run()], ask(()), {run().path: None}, {}),
        ["squeue: Unable to contact slurm controller"],
        away=False,
    )
    assert status([run()], lambda runs: Answer(controller="squeue: Unable to contact slurm controller")).away


def test_another_process_with_the_number_of_a_run_is_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    folder = RunDir(tmp_path / "run")
    folder.path.mkdir()
    reused = catalog.record(folder, job_id="local", site="x", scheduler="none", pid=os.getpid())
    assert status([reused]).rows[0].state == "lost"


def test_a_job_that_failed_before_training_says_why_in_the_words_of_its_log(tmp_path: Path) -> None:
    folder = RunDir(tmp_path / "run")
    folder.logs.mkdir(parents=True)
    submission = Submission(job_id="7", site="x", scheduler="slurm", time=0.0, host="h")
    failed = Run(str(folder.path), submission)

    def ask(runs: Collection[Run]) -> Answer:
        return Answer({failed.path: JobInfo(JobState.FAILED, reason="NonZeroExitCode")})

    assert status([failed], ask).rows[0].reason == "its log is empty"
    folder.log("7").write_text("noise\nbertjob: shifter: not found on nid00001; load it\nsrun: error: task 0: Exited\n")
    assert status([failed], ask).rows[0].reason == "shifter: not found on nid00001; load it"


def test_a_cancelled_link_of_a_chain_says_which_job_before_it_failed_and_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    links: list[Run] = []
    for number, name in enumerate(("first", "second", "third"), 12):
        folder = RunDir(tmp_path / name)
        folder.path.mkdir()
        after = (links[-1].submission.job_id, links[-1].path) if links else ("", "")
        links.append(catalog.record(folder, job_id=str(number), site="x", scheduler="slurm", after=after))
    write_state(links[0].run_dir.state, RunState(phase="failed", time=time.time(), job_id="12", error="no such file"))
    info = {"12": JobInfo(JobState.FAILED), "13": JobInfo(JobState.CANCELLED), "14": JobInfo(JobState.CANCELLED)}

    def reason(link: Run, **said: JobInfo) -> str:
        known = info | {job.removeprefix("job"): one for job, one in said.items()}
        return (
            status([link], lambda runs: Answer({run.path: known[run.submission.job_id] for run in runs})).rows[0].reason
        )

    assert [reason(link) for link in links[1:]] == ["job 12 (first) before it failed: no such file"] * 2
    assert reason(links[2], job12=JobInfo(JobState.COMPLETED)) == "job 13 (second) before it was cancelled"
    assert reason(links[1], job12=JobInfo(JobState.RUNNING)) == ""  # somebody cancelled it
    catalog.record(links[0].run_dir, job_id="20", site="x", scheduler="slurm")  # it goes on, by another job
    assert reason(links[1]) == ""
