"""The state of runs: the index, the scheduler and the runs' own heartbeats, joined into rows."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from bertjob.cluster import scheduler
from bertjob.cluster.runs import outcome
from bertjob.cluster.runs.catalog import Run, before, with_those_before
from bertjob.cluster.runs.outcome import STALE_S, word
from bertjob.cluster.runs.reason import reason
from bertjob.cluster.runs.sightings import NONE, Sightings, Silence
from bertjob.cluster.scheduler_answers import LIVE, Answer, JobInfo, JobState
from bertjob.rundir.directory import STATE
from bertjob.rundir.resume import command
from bertjob.rundir.state import ENDED, Phase, RunState, read_state

_FAILED = frozenset({JobState.FAILED, JobState.OUT_OF_MEMORY, JobState.NODE_FAIL, JobState.BOOT_FAIL, outcome.LOST})
"""Ends of which the log tells the reason; a time limit and a cancellation are reasons themselves."""
_IN_DOUBT = "the scheduler gave no clear answer: its job may be queued"
_NEVER_QUEUED = "the submission came to nothing: the queue has no job of it"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One run as ``status`` shows it; None: not known, or not yet."""

    job_id: str
    name: str
    site: str
    cluster: str = ""
    """The cluster whose scheduler gave the id; empty where it is not known."""
    elsewhere: bool = False
    """That is not the one which commands here ask by default."""
    state: str
    """The scheduler's word, in small letters; unknown when nobody can tell. Of local runs: running, completed, failed,
    interrupted (stopped with a checkpoint), lost (gone without a word)."""
    reason: str
    """Why it waits or failed, in the scheduler's or the training's words."""
    nodes: str
    phase: Phase | None
    step: int | None
    total_steps: int | None
    loss: float | None
    samples_per_second: float | None
    eta_seconds: float | None
    heartbeat_seconds: float | None
    """Age of the heartbeat, of runs that are not over."""
    stale: bool
    """The job runs, and its heartbeat was seen to be overdue, not only by another node's clock: it may hang."""
    unsure: bool = False
    """The job runs, and its heartbeat is overdue or the clocks differ: a second look will tell."""
    metrics: Mapping[str, float]
    """Of the final evaluation, by name; how each is shown is in the tasks' rows."""
    exact_match: float | None
    """As in `metrics`, for programs that read it here; so is `f1`."""
    f1: float | None
    warning: str
    network: str = ""
    """What the ranks of several nodes talk over, e.g. ``NCCL 2.27.5 over NET/OFI (cxi)``."""
    resume: str = ""
    """The command that resumes a run that has ended without success."""
    run_dir: str

    @property
    def over(self) -> bool:
        """The run has ended, well or not."""
        return self.state not in LIVE and self.state != JobState.UNKNOWN

    @property
    def failure(self) -> list[str]:
        """Lines on how a run has ended that did not succeed, and how to resume it; none of others."""
        if not self.over or self.state == JobState.COMPLETED:
            return []
        why = f": {self.reason}" if self.reason else ""
        how = f"{self.name} ({self.job_id}) {self.state}{why}"
        return [how, f"resume with: {self.resume}"] if self.resume else [how]


@dataclass(frozen=True, slots=True)
class Status:
    """Rows, and what could not be asked: one line each."""

    rows: list[Row]
    notes: list[str]
    away: bool
    """The scheduler could not be asked, and nobody else knew of some job."""
    strangers: Sequence[str] = ()
    """The lines among the notes about jobs of others that have the number of a run's."""


def status(
    runs: Sequence[Run],
    ask: Callable[[Collection[Run]], Answer] = scheduler.ask,
    sightings: Sightings | None = None,
) -> Status:
    """Where runs stand now, by one question to the scheduler for all of them.

    Args:
        runs: the runs.
        ask: asks the schedulers.
        sightings: what this process has seen of heartbeats; None: what commands before have seen is looked up, and
            what this one sees is kept.
    """
    asked = with_those_before(runs)
    answer = ask(asked)
    states = {run.path: read_state(f"{run.path}/{STATE}") for run in asked}  # no Path: there may be thousands
    seen = sightings or Sightings.remembered()
    silences = seen.look(asked, states, time.time())
    if sightings is None:
        seen.remember()
    found = rows(runs, answer, states, silences)
    unknown = any(row.state == JobState.UNKNOWN for row in found)
    strangers = tuple(
        f"{run.name}: {told}"
        for run, row in zip(runs, found, strict=True)
        if (told := answer.job(run).stranger) and row.state != JobState.COMPLETED
    )
    return Status(found, [*notes(answer, found), *strangers], bool(answer.controller) and unknown, strangers)


def notes(answer: Answer, rows: Sequence[Row]) -> list[str]:
    """What the reader should know about how much the states are worth."""
    unknown = any(row.state == JobState.UNKNOWN for row in rows)
    return list(filter(None, [answer.controller, answer.accounting if unknown else ""]))


def rows(
    runs: Sequence[Run],
    answer: Answer,
    states: Mapping[str, RunState | None],
    silences: Mapping[str, Silence],
) -> list[Row]:
    """Rows in the order of the runs.

    Args:
        runs: the runs.
        answer: what the schedulers said of them, and of those before them in chains.
        states: heartbeat by run path, of the same.
        silences: how long they are silent, by run path, of the same.
    """
    return [
        _row(run, answer, states[run.path], silences.get(run.path, NONE), _why_cancelled(run, answer, states, silences))
        for run in runs
    ]


def _row(run: Run, answer: Answer, state: RunState | None, silence: Silence, fell: str) -> Row:
    info = answer.job(run)
    stands = word(run, info, state, silence.certain)
    last = state or _NOTHING
    own = outcome.own_state(run, state) or _NOTHING
    running = stands == JobState.RUNNING
    if stands in LIVE and own.phase in ENDED and own.phase != "done":  # the word of a start before this one
        own = _NOTHING
    over = stands not in LIVE and stands != JobState.UNKNOWN
    shows = own is not _NOTHING and own.phase not in ENDED and (running or stands == JobState.UNKNOWN)
    beat = silence.likely if shows else None
    stale = running and shows and silence.certain > STALE_S
    return Row(
        job_id=run.submission.job_id,
        name=run.name,
        site=run.submission.site,
        cluster=run.submission.cluster,
        elsewhere=scheduler.elsewhere(run),
        state=stands,
        reason=fell or _reason(run, stands, info, own),
        nodes=info.nodes,
        phase=_phase(stands, state, own),
        step=last.step if last.total_steps else None,
        total_steps=last.total_steps or None,
        loss=last.loss,
        samples_per_second=own.samples_per_second if running else None,
        eta_seconds=max(0.0, own.eta_seconds - (beat or 0.0)) if running and own.eta_seconds is not None else None,
        heartbeat_seconds=beat,
        stale=stale,
        unsure=running and not stale and beat is not None and beat > STALE_S,
        metrics=last.metrics,
        exact_match=last.metrics.get("exact_match"),
        f1=last.metrics.get("f1"),
        warning=own.warning,
        network=own.network,
        resume=_resume(run) if over and stands != JobState.COMPLETED else "",
        run_dir=run.path,
    )


def _resume(run: Run) -> str:
    """The command that resumes a run; empty where its directory is not there."""
    return command(run.run_dir, submitted=run.scheduler.queues) if run.run_dir.path.is_dir() else ""


def _phase(stands: str, state: RunState | None, own: RunState) -> Phase | None:
    """What the training does or did last; of a job that lives, not how one before it or an earlier start ended."""
    if state is None:
        return None
    if stands in LIVE and own is _NOTHING and (stands == JobState.RUNNING or state.phase == "failed"):
        return None
    return state.phase


def _reason(run: Run, stands: str, info: JobInfo, own: RunState) -> str:
    """Why it waits or failed; why a job once waited is of no interest when it has ended, unless that ended it."""
    if not run.submission.job_id:
        return _IN_DOUBT if stands != outcome.LOST else _NEVER_QUEUED
    if info.stranger and own is _NOTHING:
        return info.stranger
    if stands in _FAILED:
        return reason(run, info, None if own is _NOTHING else own)
    waited = info.state.ended and info.state is not JobState.FAILED
    said = not waited or info.reason.startswith("Dependency")
    return own.error or (info.reason if said else "")


def _why_cancelled(
    run: Run, answer: Answer, states: Mapping[str, RunState | None], silences: Mapping[str, Silence]
) -> str:
    """Which job of a chain failed, and why, so that the scheduler cancelled this one; empty where it is not so."""
    if not run.submission.after or answer.job(run).state is not JobState.CANCELLED:
        return ""
    first = before(run)
    if first is None:
        return ""
    if why := _why_cancelled(first, answer, states, silences):
        return why
    state, info = states.get(first.path), answer.job(first)
    stands = word(first, info, state, silences.get(first.path, NONE).certain)
    if stands in LIVE or stands in (JobState.COMPLETED, JobState.UNKNOWN):
        return ""
    said = _reason(first, stands, info, outcome.own_state(first, state) or _NOTHING)
    how = {"failed": "failed", "cancelled": "was cancelled"}.get(stands, f"ended: {stands}")
    return f"job {first.submission.job_id} ({first.name}) before it {how}{f': {said}' if said else ''}"


_NOTHING = RunState(phase="starting", time=0.0)
"""Stands for a heartbeat that is not there."""
