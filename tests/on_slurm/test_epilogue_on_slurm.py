"""The epilogue runs once per job, after the last of its starts, however Slurm or a person ends them."""

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from face import Face
from slurm.lab import Lab
from training import Tiny, restarts, wait_for_step
from until import until

from bertjob.rundir.directory import RunDir

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

STEPS = 60
Fault = Callable[[Face, str], None]


def slurm(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


def requeue(bertjob: Face, job_id: str) -> None:
    slurm("scontrol", "requeue", job_id)
    until(lambda: restarts(job_id) == 1)


def announce_the_limit(bertjob: Face, job_id: str) -> None:
    """The script asks for USR1 before the time limit, writes a checkpoint at it and has itself requeued."""
    slurm("scancel", "--batch", "--signal=USR1", job_id)
    until(lambda: restarts(job_id) == 1)


def cancel(bertjob: Face, job_id: str) -> None:
    bertjob("cancel", job_id)


def scancel(bertjob: Face, job_id: str) -> None:
    slurm("scancel", job_id)


FAULTS: Mapping[str, tuple[Fault, str]] = {
    "requeue": (requeue, "0 1"),
    "USR1 before the time limit": (announce_the_limit, "0 1"),
    "bertjob cancel": (cancel, "85 0"),
    "scancel": (scancel, "85 0"),
}
"""What happens to a job, and the exit code and the number of the restart that its epilogue sees."""


def over(job_id: str) -> bool:
    return not slurm("squeue", "--noheader", "--states=PENDING,RUNNING,COMPLETING,SUSPENDED", f"--jobs={job_id}")


def noted_by(folder: Path) -> str:
    return f'echo "$BERTJOB_EXIT_CODE $BERTJOB_RESTART" >> {folder}/noted'


@pytest.mark.fault(
    "{fault} of a job with an epilogue",
    survived="yes: the epilogue runs once, after the last start",
    lost="nothing",
    reported="its exit code is the job's",
)
@pytest.mark.parametrize(
    "fault", ["requeue", *(pytest.param(name, marks=pytest.mark.faults) for name in FAULTS if name != "requeue")]
)
@pytest.mark.usefixtures("cluster")
def test_the_epilogue_runs_once_after_the_last_start(bertjob: Face, tiny: Tiny, fault: str) -> None:
    act, expected = FAULTS[fault]
    run = RunDir(bertjob.folder / "run")
    job = tiny(STEPS if expected.startswith("0") else 1_000_000, epilogue=[noted_by(bertjob.folder)])
    job_id = bertjob("submit", job, "--nodes", "2", "--run-dir", run.path).stdout.split()[-1]
    wait_for_step(run, job_id, 3)
    act(bertjob, job_id)
    until(lambda: over(job_id))
    log = run.log(job_id).read_text()
    assert (bertjob.folder / "noted").read_text().splitlines() == [expected], log


@pytest.mark.faults
@pytest.mark.fault(
    "the time limit ends a job with an epilogue whose ranks ignore USR1",
    survived="no",
    lost="steps since the checkpoint",
    reported="the epilogue runs once, with the job's exit code",
)
def test_the_epilogue_runs_when_the_time_limit_ends_the_job(bertjob: Face, cluster: Lab) -> None:
    deaf = bertjob.folder / "python"
    deaf.write_text("#!/bin/sh\ntrap '' USR1\nwhile sleep 1; do :; done\n")
    deaf.chmod(0o755)
    site = bertjob.site("lab", python=str(deaf), epilogue=[noted_by(bertjob.folder)])
    job = bertjob.job(checkpoint={"signal_seconds": 10})
    job_id = bertjob("submit", job, "--site", site, "--time", "1").stdout.split()[-1]
    until(lambda: over(job_id))
    assert slurm("sacct", "-nXP", "-j", job_id, "-o", "state") == "TIMEOUT"
    (line,) = (bertjob.folder / "noted").read_text().splitlines()
    assert line.endswith(" 0")
    assert not line.startswith("0 ")
