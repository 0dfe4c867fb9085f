"""The course of a training: prepare, train, and where no signal stopped it, answer and export."""

import logging

from bertjob.errors import REQUEUE_EXIT_CODE
from bertjob.train.context import Start
from bertjob.train.loop import train
from bertjob.train.trainer import finish, is_finished, prepare

__all__ = ["is_finished", "run"]

_LOG = logging.getLogger(__name__)


def run(start: Start) -> int:
    """Train from the newest checkpoint to the end, or until a signal; called by all ranks.

    Returns:
        The exit code: 0, or 85 after a signal.

    Raises:
        BertjobError: the job, its data, its model or a checkpoint is no good, or a file cannot be written.
    """
    ranks, watch, report, run_dir = start.ranks, start.watch, start.report, start.run_dir
    with report.working():
        training = prepare(start.job, run_dir, ranks, start.device, ranks.gather(start.here), watch, report)
    report.phase("training")
    with watch.deferred():
        completed = train(training)
        if not completed:
            start.part()
            report.end("checkpointed", REQUEUE_EXIT_CODE)
            if ranks.first:
                _LOG.info("stopped by a signal; start again to go on")
            return REQUEUE_EXIT_CODE
    with report.working():
        metrics = finish(training, run_dir)
    start.part()
    report.end("done", 0, metrics=metrics)
    if ranks.first:
        _LOG.info("done: the model is in %s", run_dir.model)
    return 0
