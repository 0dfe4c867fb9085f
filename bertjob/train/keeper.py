"""Rank 0 takes the lease of the run directory, touches it, and notices when the lease or the folder is lost.

Whoever starts a run knows more than the ranks: the script has asked Slurm whether the job of the former holder has
ended, and ``bertjob run`` holds the lease for the ranks that it starts. They pass it on in the environment.
"""

import logging
import threading
import time
from collections.abc import Mapping

import msgspec

from bertjob.errors import BertjobError, LeaseError, PreflightError
from bertjob.rundir import lease, resume
from bertjob.rundir.directory import RunDir
from bertjob.rundir.held_run import HeldRun
from bertjob.rundir.lease import Holder
from bertjob.rundir.world import FORMER_LEASE, LOCAL_ID, RESTART
from bertjob.text import reason
from bertjob.train.distributed.watchdog import Watch
from bertjob.train.reporting.log_files import cluster_name

_LOG = logging.getLogger(__name__)


def restart(env: Mapping[str, str]) -> int:
    """How often the scheduler had started the job before this start."""
    text = env.get(RESTART, "")
    return int(text) if text.isdecimal() else 0


def take(held: HeldRun, job_id: str, env: Mapping[str, str]) -> None:
    """Take the lease for this start, from a holder that is over or makes way.

    Raises:
        PreflightError: another start is at work; says which.
        BertjobError: the lease cannot be written.
    """
    own = lease.of_this_process(job_id, restart(env), cluster_name(env))
    former = env.get(FORMER_LEASE, "")
    try:
        while True:
            found = lease.read(held.run_dir)
            if found is not None and not _makes_way(found, own, former):
                _refuse(found, held.run_dir)
            given = former if found is not None and found.nonce == former else ""
            where = own.cluster or (found.cluster if found is not None and found.job_id == own.job_id else "")
            if held.take(msgspec.structs.replace(own, given=given, cluster=where), found):
                return
    except OSError as error:
        raise BertjobError(f"{held.run_dir.lease}: cannot be written: {reason(error)}") from None


def is_replaced(held: HeldRun, job_id: str, env: Mapping[str, str]) -> bool:
    """Whether another start has the lease, or nobody can tell: ranks above 0 do not hold it, and ask by this."""
    if held.lost:
        return True
    try:
        found = lease.read(held.there)
    except OSError:
        return True
    former = env.get(FORMER_LEASE, "")
    if found is None or not found.job_id or found.nonce == former:
        return False
    if job_id == LOCAL_ID:
        return found.given != former
    return found.job_id != job_id or found.restart > restart(env)


def _makes_way(found: Holder, own: Holder, former: str) -> bool:
    """Whether a holder need not be asked: it has ended, started this one, or is the same job's earlier start."""
    if found.ended or found.nonce == former:
        return True
    if own.job_id == LOCAL_ID:
        return False
    if not found.job_id:  # `bertjob submit` is about to name the job: this one, or it takes its own job back
        return True
    if found.cluster and own.cluster not in ("", found.cluster):
        return False
    return found.job_id == own.job_id and (found.restart < own.restart or not found.pid)


def _refuse(found: Holder, run_dir: RunDir) -> None:
    """Return if a holder is dead: its process is gone or, where that cannot be seen, it does not touch the lease.

    Raises:
        PreflightError: it is at work.
    """
    at_work = lease.lives(found)
    if at_work is None:
        _LOG.info("waiting to see whether %s is still at work", found)
        at_work = not lease.is_silent(run_dir.lease)
    if at_work:
        raise PreflightError(f"{run_dir.path}: {found} is at work there; stop it or wait for it")


class Keeper:
    """Watches lease and folder on a thread of its own, until the ranks end in good order."""

    def __init__(self, held: HeldRun, watch: Watch) -> None:
        """Do nothing yet; on ranks above 0 never."""
        self.held = held
        self.news = ""
        """What happened to the folder, seen twice in a row; the loop then ends the training."""
        self._watch = watch
        self._seen = ""

    def start(self) -> None:
        """Begin; the lease is taken."""
        threading.Thread(target=self._run, name="keeper", daemon=True).start()

    def last_line(self, saved: str, job_id: str) -> str:
        """Why the training ends, what became of its last checkpoint, and how to resume it where the folder is now."""
        now = self.held.where()
        if now is None:
            return f"{self.news}; {saved}"
        return f"{self.news}; {saved}; to resume: {resume.command(RunDir(now), submitted=job_id != LOCAL_ID)}"

    def _run(self) -> None:
        while not self._watch.is_over:
            self._look()
            time.sleep(lease.BEAT_S)

    def _look(self) -> None:
        try:
            self.held.check()
        except LeaseError as lost:
            self._watch.depart(lost.exit_code, str(lost))
        except OSError:  # a file system that does not answer says nothing
            return
        self.held.beat()
        seen, before = self.held.displaced(), self._seen
        self._seen = seen
        if seen and seen == before and not self.news:  # twice: it was not only for a moment
            self.news = f"the run directory {self.held.run_dir.path} {seen} while it was in use"
            if self._watch.is_deferred:
                _LOG.warning("%s; the training ends after this step", self.news)
        if self.news and not self._watch.is_deferred:
            self._watch.depart(LeaseError.exit_code, self.news)
