"""One rank of a run, from job.yaml to its exit code."""

import contextlib
import functools
import logging
import os
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch.distributed as dist

from bertjob.config.job import Job
from bertjob.config.registry.code import load_code
from bertjob.config.registry.tasks import TASKS
from bertjob.errors import BertjobError, DataError, PreflightError, WorldError
from bertjob.rundir.directory import RunDir
from bertjob.rundir.held_run import HeldRun
from bertjob.rundir.job_log import release_room, reserve_room
from bertjob.rundir.world import World, check_world, world_from
from bertjob.text import first_line, is_full, reason
from bertjob.train import software
from bertjob.train.context import Start, Work
from bertjob.train.data.mapped import explain_bus_errors
from bertjob.train.device import choose_device, device_name
from bertjob.train.distributed import interfaces, mpi, pulse, rendezvous, transport
from bertjob.train.distributed.departure import LOST_PEER, Departure
from bertjob.train.distributed.signals import StopSignals
from bertjob.train.distributed.watchdog import Watch
from bertjob.train.keeper import Keeper, is_replaced, restart, take
from bertjob.train.reporting.log_files import OWN_FILE_ONLY, Logs, job_id, open_logs
from bertjob.train.reporting.report import Report
from bertjob.version import __version__

_LOG = logging.getLogger(__name__)


def main(path: Path, signals: StopSignals) -> int:
    """Run one rank of the run whose directory holds the job `path`; returns its exit code.

    Where another rank or a signal ends the run, the process ends here and does not return.
    """
    run_dir = RunDir(path.absolute().parent)
    try:
        world = world_from(os.environ)
        held = HeldRun(run_dir)
    except BertjobError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    report = Report(held, world, job_id(os.environ))
    try:
        logs = open_logs(run_dir, world, os.environ)
    except BertjobError as error:
        release_room(held.there)
        print(error, file=sys.stderr)
        if report.tells:
            with contextlib.suppress(BertjobError):  # another start is at work, whose state it is
                _take(held, world)
                report.end("failed", error.exit_code, str(error))
        return error.exit_code
    note = run_dir.departure(job_id(os.environ), restart(os.environ)) if world.size > 1 else None
    watch = Watch(signals, logs.who, functools.partial(_tell, logs, held, report), note)
    explain_bus_errors(functools.partial(watch.depart, DataError.exit_code))
    try:
        return _run(path, held, world, watch, report)
    except BertjobError as error:
        if not isinstance(error, WorldError):  # ranks that have not met say nothing about the job
            report.refuse()
        watch.depart(error.exit_code, str(error))
    except BaseException as error:
        if is_full(error):
            watch.depart(1, _without_room(error, run_dir))
        _LOG.exception("%s", _named(error), extra=OWN_FILE_ONLY)
        watch.depart(1, f"{LOST_PEER if _is_lost_peer(error) else _named(error)} (traceback in {logs.path})")


def _run(path: Path, held: HeldRun, world: World, watch: Watch, report: Report) -> int:
    keeping, run_dir = Keeper(held, watch), held.run_dir
    if world.rank == 0:
        _take(held, world)
        keeping.start()
        reserve_room(held.there)
    job = software.read(path)
    work = _work(job)
    finished = world.rank == 0 and work.is_finished(run_dir, job)
    if not finished:
        report.start()
    check_world(world, os.environ)
    device = choose_device(world, job.resources.gpus_per_node)
    here = f"{socket.gethostname()}, {device_name(device)}"
    _LOG.info("bertjob %s on %s, rank %d of %d", __version__, here, world.rank, world.size)

    start_id = job_id(os.environ)
    meeting = rendezvous.meet(world, os.environ, f"bertjob/{start_id}/{run_dir.path}", run_dir.secret(start_id))
    watch.connect(meeting.notices)
    own_log = run_dir.log(job_id(os.environ), world.rank)
    nccl_log = transport.listen(device, os.environ, own_log.with_suffix(".nccl"))
    ranks, places = rendezvous.join(meeting, os.environ, device)
    watch.met(pulse.begin(world, meeting.store, places, meeting.secret.key("pulse"), watch.lost))
    own = (socket.gethostname(), interfaces.interfaces())
    shared = interfaces.shared_addresses(ranks.gather(own, tuple[str, dict[str, str]]))
    doubt = interfaces.may_hang(shared) if shared and not meeting.place.chosen else ""
    library = ""
    if job.mpi:
        report.fear(mpi.FEAR)
        if doubt:
            report.warn(doubt)
        library = mpi.join(world, os.environ, lambda: watch.depart(1, mpi.hang(shared)))
        report.fear("")
    software.compare(run_dir, job, ranks, report)
    start = Start(job, run_dir, ranks, device, here, watch, keeping, report, library, doubt)
    if ranks.from_first(lambda: finished, bool):
        report.still_done()
        if ranks.first:
            _LOG.info("this run is done: %s", run_dir.path)
        start.part()
        return 0
    return work.run(replace(start, transport=transport.tell(ranks, device, nccl_log, os.environ, report)))


def _work(job: Job) -> Work:
    """What the job's task does: a training, or work of its own, which needs nothing of a training."""
    row = TASKS[job.task]
    return cast("Work", load_code("bertjob.train.trainer:TRAINING" if row.trains else row.code))


def _take(held: HeldRun, world: World) -> None:
    try:
        take(held, job_id(os.environ), os.environ)
    except PreflightError:  # singletons are refused as well, for which there is a better reason
        check_world(world, os.environ)
        raise


def _tell(logs: Logs, held: HeldRun, report: Report, departure: Departure, silent: list[str]) -> None:
    """Say why the run ends early: in the job's log by the rank that ends it, in the state by rank 0.

    A start that was replaced says it in its own file only: the job's log may be the next start's as well.
    """
    if departure.failed and not is_replaced(held, job_id(os.environ), os.environ):
        release_room(held.there)
    extra = None if departure.who == logs.who and not held.lost else OWN_FILE_ONLY
    _LOG.log(logging.ERROR if departure.failed else logging.WARNING, "%s", departure.line, extra=extra)
    cause = str(departure)
    if silent and departure.line.startswith(LOST_PEER):
        cause = f"{', '.join(silent)} is gone without a word: killed, or the node failed"
        _LOG.error("%s", cause)
    if departure.failed:
        report.end("failed", departure.code, cause)
    else:
        report.end("checkpointed", departure.code, cause if departure.silent else "")
    logs.flush()


def _without_room(error: BaseException, run_dir: RunDir) -> str:
    """Where there was no room, and what to do; the name of a file that is written aside says nothing to anybody."""
    file = getattr(error, "filename", None)
    folder = Path(os.fsdecode(file)).parent if isinstance(file, str | bytes) else run_dir.path
    return f"{folder}: {reason(error)}: make room and start again"


def _is_lost_peer(error: BaseException) -> bool:
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "/gloo/" in str(error))


def _named(error: BaseException) -> str:
    """The kind of an error, with its first line."""
    kind, line = type(error).__name__, first_line(error)
    return kind if line == kind else f"{kind}: {line}"
