"""One rank of a run, from job.yaml to its exit code."""

import functools
import logging
import os
import socket
import sys
from pathlib import Path

import torch.distributed as dist

from bertjob.errors import REQUEUE_EXIT_CODE, BertjobError
from bertjob.launch.world import World, check_world, world_from
from bertjob.spec.layout import RunDir
from bertjob.spec.load import read_job
from bertjob.train import rendezvous
from bertjob.train.device import choose_device, device_name
from bertjob.train.logs import OWN_FILE_ONLY, Logs, job_id, open_logs
from bertjob.train.loop import train
from bertjob.train.notices import LOST_PEER, Departure
from bertjob.train.ranks import Ranks
from bertjob.train.report import Report
from bertjob.train.signals import StopSignals
from bertjob.train.stages import finish, is_finished, prepare
from bertjob.train.watch import Watch
from bertjob.version import __version__

_LOG = logging.getLogger(__name__)


def main(path: Path, signals: StopSignals) -> int:
    """Run one rank of the run whose directory holds the job `path`; returns its exit code.

    Where another rank or a signal ends the run, the process ends here and does not return.
    """
    run_dir = RunDir(path.absolute().parent)
    try:
        world = world_from(os.environ)
        logs = open_logs(run_dir, world, os.environ)
    except BertjobError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    report = Report(run_dir, world, job_id(os.environ))
    watch = Watch(signals, logs.who, functools.partial(_tell, logs, report))
    try:
        return _run(path, run_dir, world, watch, report)
    except BertjobError as error:
        watch.depart(error.exit_code, str(error))
    except BaseException as error:
        _LOG.exception("%s", _first_line(error), extra=OWN_FILE_ONLY)
        watch.depart(1, f"{LOST_PEER if _is_lost_peer(error) else _first_line(error)} (traceback in {logs.path})")


def _run(path: Path, run_dir: RunDir, world: World, watch: Watch, report: Report) -> int:
    job = read_job(path)
    finished = world.rank == 0 and is_finished(run_dir, job)
    if not finished:
        report.start()
    check_world(world, os.environ)
    device = choose_device(world, job.resources.gpus_per_node)
    here = f"{socket.gethostname()}, {device_name(device)}"
    _LOG.info("bertjob %s on %s, rank %d of %d", __version__, here, world.rank, world.size)

    meeting = rendezvous.meet(world, os.environ, f"bertjob/{job_id(os.environ)}/{run_dir.path}")
    watch.connect(meeting.notices)
    ranks = rendezvous.join(meeting, os.environ, device)
    if ranks.from_first(lambda: finished):
        report.still_done()
        if ranks.first:
            _LOG.info("this run is done: %s", run_dir.path)
        _part(watch, ranks)
        return 0

    with report.working():
        training = prepare(job, run_dir, ranks, device, ranks.gather(here), watch, report)
    report.phase("training")
    with watch.deferred():
        completed = train(training)
        if not completed:
            _part(watch, ranks)
            report.end("checkpointed", REQUEUE_EXIT_CODE)
            if ranks.first:
                _LOG.info("stopped by a signal; start again to go on")
            return REQUEUE_EXIT_CODE
    with report.working():
        metrics = finish(training, run_dir)
    _part(watch, ranks)
    report.end("done", 0, metrics=metrics)
    if ranks.first:
        _LOG.info("done: the model is in %s", run_dir.model)
    return 0


def _part(watch: Watch, ranks: Ranks) -> None:
    """Let no rank leave while another may still need it."""
    watch.stop()
    ranks.barrier()


def _tell(logs: Logs, report: Report, departure: Departure, silent: list[str]) -> None:
    """Say why the run ends early: in the job's log by the rank that ends it, in the state by rank 0."""
    extra = None if departure.who == logs.who else OWN_FILE_ONLY
    _LOG.log(logging.ERROR if departure.failed else logging.WARNING, "%s", departure.line, extra=extra)
    cause = str(departure)
    if silent and departure.line.startswith(LOST_PEER):
        cause = f"{', '.join(silent)} is gone without a word: killed, or the node failed"
        _LOG.error("%s", cause)
    if departure.failed:
        report.end("failed", departure.code, cause)
    else:
        report.end("checkpointed", departure.code)
    logs.flush()


def _is_lost_peer(error: BaseException) -> bool:
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "/gloo/" in str(error))


def _first_line(error: BaseException) -> str:
    line = next((line for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {line}" if line else type(error).__name__
