"""What a run tells those who watch it: state.json, metrics.jsonl, TensorBoard, and a line on the console.

Rank 0 tells; on other ranks nothing here does anything. A disk that is full for a while costs lines, not the training.
"""

import contextlib
import datetime
import functools
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Concatenate, ParamSpec

import msgspec

from bertjob.errors import LeaseError
from bertjob.rundir.held_run import HeldRun
from bertjob.rundir.state import Phase, RunState, read_state
from bertjob.rundir.world import World
from bertjob.text import reason
from bertjob.train.backends import StepOutcome
from bertjob.train.reporting.events import EventsFile
from bertjob.train.reporting.heartbeat import Heartbeat, MetricsFile, cut
from bertjob.train.reporting.log_files import cluster_name
from bertjob.train.reporting.meter import Reading

_LOG = logging.getLogger(__name__)
_P = ParamSpec("_P")
_NO_GAUGES: Mapping[str, float] = {}


def _on_rank_0(method: "Callable[Concatenate[Report, _P], None]") -> "Callable[Concatenate[Report, _P], None]":
    @functools.wraps(method)
    def telling(report: "Report", /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        if report.tells:
            method(report, *args, **kwargs)

    return telling


class Report:
    """The teller of one start of a run. What it writes, it writes only while the start holds the lease."""

    def __init__(self, held: HeldRun, world: World, job_id: str) -> None:
        """Say nothing yet."""
        self.tells = world.rank == 0
        self.job_id = job_id
        self._held = held
        self._run_dir = held.run_dir
        self._troubles: dict[str, str] = {}
        self._warning = ""
        self._standing = ""
        self._total = 0
        self._initial = RunState(
            phase="starting",
            time=0.0,
            job_id=job_id,
            cluster=cluster_name(os.environ),
            host=socket.gethostname(),
            pid=os.getpid(),
            world_size=world.size,
        )
        self._starting = threading.Lock()
        self._refused = False
        self._heartbeat: Heartbeat | None = None
        self._metrics: MetricsFile | None = None
        self._events: EventsFile | None = None

    @_on_rank_0
    def start(self) -> None:
        """Begin with the phase ``starting``, unless the run has been ended from another thread, as by a signal."""
        with self._starting, self._surviving("state.json"):
            self._heartbeat = self._heartbeat or self._begin(self._initial)

    @_on_rank_0
    def still_done(self) -> None:
        """Say once more, for this start, what a finished run said: a state older than its start is not its word."""
        said = read_state(self._run_dir.state)
        if said is not None:
            now = self._initial
            with self._surviving("state.json"):
                self._begin(
                    msgspec.structs.replace(said, job_id=now.job_id, cluster=now.cluster, host=now.host, pid=now.pid)
                )

    @_on_rank_0
    def phase(self, phase: Phase) -> None:
        """Enter another phase."""
        self._update(phase=phase)

    @_on_rank_0
    def resume(self, step: int, total: int, *, evaluations: bool) -> None:
        """Open the files of metrics where the training stood after `step` of `total` steps.

        Args:
            step: steps done; what was reported of later ones is taken back.
            total: steps of the whole training.
            evaluations: whether reported evaluations stay.

        Raises:
            LeaseError: another start has taken over.
            OSError: they cannot be written.
        """
        self._total = total
        self._update(step=step, total_steps=total)
        there, check = self._held.there, self._held.check
        cut(there.metrics, step, evaluations=evaluations, check=check)
        self._metrics = MetricsFile(there.metrics, check)
        self._events = EventsFile(there.tensorboard, step + 1, check)

    @_on_rank_0
    def alive(self, step: int) -> None:
        """The training works on the step after `step`."""
        if self._heartbeat is not None:
            with self._surviving("state.json"):
                self._heartbeat.beat(step=step)

    @_on_rank_0
    def reached(self, step: int) -> None:
        """Say now that `step` steps are done, as before a checkpoint."""
        self._update(step=step)

    @_on_rank_0
    def logged(
        self, step: int, reading: Reading, lr: float, outcome: StepOutcome, gauges: Mapping[str, float] = _NO_GAUGES
    ) -> None:
        """One line about step `step` (from 1), with what the optimizer tells of it."""
        line = {**metrics_line(step, reading, lr, outcome), **gauges}
        eta = (self._total - step) * reading.seconds_per_step
        _LOG.info("%s", console_line(step, self._total, reading, lr, eta))
        self._update(
            step=step,
            loss=reading.loss,
            samples_per_second=round(reading.samples_per_second, 2),
            eta_seconds=round(eta, 1),
        )
        self._write(step, line)

    @_on_rank_0
    def evaluated(self, step: int, metrics: Mapping[str, float]) -> None:
        """One line about an evaluation after `step` steps."""
        _LOG.info("evaluated  %s", "  ".join(f"{name} {value:.2f}" for name, value in metrics.items()))
        self._write(step, {"step": step, **metrics, "time": time.time()})

    @_on_rank_0
    def network(self, transport: str, fault: str) -> None:
        """Say what the ranks talk over, and what is wrong with it; a fault stands in the state to the end."""
        if fault:
            _LOG.warning("%s", fault)
        else:
            _LOG.info("%s", transport)
        self._stand(fault)
        self._update(network=transport)

    @_on_rank_0
    def warn(self, line: str, *, stands: bool = False) -> None:
        """Say a warning, and keep it in the state until it is lifted by an empty one; one that stands is not lifted."""
        if line:
            _LOG.warning("%s", line)
        if stands:
            self._stand(line)
        else:
            self._warning = line
        self._update()

    def _stand(self, line: str) -> None:
        self._standing = "; ".join(filter(None, (self._standing, line)))

    @_on_rank_0
    def flush(self) -> None:
        """Have the lines so far on the disk: a checkpoint must not be ahead of them."""
        if self._metrics is not None:
            with self._surviving("metrics.jsonl"):
                self._metrics.flush()

    @_on_rank_0
    def fear(self, line: str) -> None:
        """Say beforehand what will have happened if this process ends without a word; nothing lifts it."""
        self._update(error=line)

    @_on_rank_0
    def refuse(self) -> None:
        """The job is no good: if training has not begun, nothing will be worth keeping."""
        self._refused = self._metrics is None

    @_on_rank_0
    def end(self, phase: Phase, exit_code: int, error: str = "", metrics: Mapping[str, float] | None = None) -> None:
        """Say how it ended; the last word, which a start that was replaced or refused does not have.

        Args:
            phase: one of those in which a run has ended.
            exit_code: of this process.
            error: why it failed, in one line.
            metrics: of the final evaluation, those that the state shall show; None: those that it shows stay.
        """
        changes: dict[str, Any] = {} if metrics is None else {"metrics": metrics}
        with contextlib.suppress(LeaseError):
            self.start()
            if self._heartbeat is not None:
                with self._surviving("state.json", at_work=False):
                    changes["warning"] = self._warnings()
                    self._heartbeat.end(phase=phase, exit_code=exit_code, error=error, refused=self._refused, **changes)
            self._held.give_up()

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """A long phase without steps: the heartbeat goes on as long as this process works."""
        with contextlib.nullcontext() if self._heartbeat is None else self._heartbeat.working():
            yield

    def _begin(self, state: RunState) -> Heartbeat:
        return Heartbeat(self._held.there.state, state, self._held.check)

    @contextlib.contextmanager
    def _surviving(self, name: str, *, at_work: bool = True) -> Iterator[None]:
        """A write to the file or folder `name` of the run, which may fail.

        The first time that is told, and the state has it until a write succeeds; state.json has a reserve for that.
        """
        try:
            yield
        except OSError as error:
            trouble = f"{name} cannot be written: {reason(error)}"
            if self._troubles.get(name) != trouble:
                self._troubles[name] = trouble
                _LOG.warning("%s/%s%s", self._run_dir.path, trouble, "; training goes on" if at_work else "")
                self._update()
        else:
            if self._troubles.pop(name, None) is not None:
                self._update()

    def _update(self, **changes: Any) -> None:
        if self._heartbeat is not None:
            with self._surviving("state.json"):
                self._heartbeat.update(**changes, warning=self._warnings())

    def _warnings(self) -> str:
        return "; ".join(filter(None, (self._warning, *self._troubles.values(), self._standing)))

    def _write(self, step: int, line: Mapping[str, Any]) -> None:
        if self._metrics is not None:
            with self._surviving("metrics.jsonl"):
                self._metrics.append(line)
        if self._events is not None:
            about = "train" if "loss" in line else "eval"
            scalars = {f"{about}/{name}": value for name, value in line.items() if name not in {"step", "time"}}
            with self._surviving("tb"):
                self._events.append(step, scalars)


def metrics_line(step: int, reading: Reading, lr: float, outcome: StepOutcome) -> dict[str, Any]:
    """A line of metrics.jsonl; what the back end does not tell is left out."""
    told = {"grad_norm": outcome.grad_norm, "loss_scale": outcome.loss_scale}
    return {
        "step": step,
        "loss": reading.loss,
        "lr": lr,
        "samples_per_second": round(reading.samples_per_second, 2),
        "tokens_per_second": round(reading.tokens_per_second, 1),
        **{name: value for name, value in told.items() if value is not None},
        "skipped": outcome.skipped,
        "time": time.time(),
    }


def console_line(step: int, total: int, reading: Reading, lr: float, eta_seconds: float) -> str:
    """E.g. ``step  40/134  loss 2.3412  lr 3.0e-05  212.4 samples/s  eta 0:03:12``."""
    eta = datetime.timedelta(seconds=round(eta_seconds))
    return (
        f"step {step:>{len(str(total))}}/{total}  loss {reading.loss:.4f}  lr {lr:.1e}  "
        f"{reading.samples_per_second:.1f} samples/s  eta {eta}"
    )
