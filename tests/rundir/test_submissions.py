import os
import subprocess
import time
from pathlib import Path

import pytest

from bertjob.launch.schedulers.slurm import record
from bertjob.rundir import submissions
from bertjob.rundir.directory import RunDir
from bertjob.rundir.submissions import Submission

FIRST = Submission(job_id="7", site="daint", scheduler="slurm", time=1.5, host="login1")
SECOND = Submission(job_id="8", site="daint", scheduler="slurm", time=2.5, host="login1", after="7", after_dir="/r")


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path)


def test_the_newest_is_the_last_line(run_dir: RunDir) -> None:
    assert submissions.newest(run_dir) is None
    for submission in (FIRST, SECOND):
        submissions.append(run_dir, submission)
    assert submissions.newest(run_dir) == SECOND
    assert len(run_dir.submissions.read_bytes().splitlines()) == 2


def test_half_a_line_counts_for_nothing(run_dir: RunDir) -> None:
    submissions.append(run_dir, FIRST)
    with run_dir.submissions.open("ab") as file:
        file.write(b'{"job_')
    assert submissions.newest(run_dir) == FIRST
    submissions.append(run_dir, SECOND)
    assert submissions.newest(run_dir) == SECOND


@pytest.mark.parametrize("line", [b'{"job_\n', b"[]\n", b'{"job_id": "7"}\n'])
def test_a_line_that_cannot_be_read_is_none(line: bytes, run_dir: RunDir) -> None:
    submissions.append(run_dir, FIRST)
    with run_dir.submissions.open("ab") as file:
        file.write(line)
    assert submissions.newest(run_dir) is None


def test_a_script_adds_the_line_that_submit_would_once_for_each_job(run_dir: RunDir, tmp_path: Path) -> None:
    script = "\n".join(record("my-site"))
    for job_id in ("41", "41", "4"):
        subprocess.run(
            ["bash", "-euc", script],
            env={
                "RUN": str(run_dir.path),
                "SLURM_JOB_ID": job_id,
                "SLURM_CLUSTER_NAME": "daint",
                "SLURM_JOB_NAME": "squad",
                "SLURM_SUBMIT_DIR": str(tmp_path),
                "PATH": "/usr/bin:/bin",
            },
            cwd=tmp_path,
            check=True,
        )
        found = submissions.newest(run_dir)
        assert found is not None
        assert (found.job_id, found.site, found.scheduler, found.pid) == (job_id, "my-site", "slurm", 0)
        assert (found.cluster, found.job_name, found.uid) == ("daint", "squad", os.getuid())
        assert (found.directory, found.script) == (str(tmp_path), "")
        assert abs(found.time - time.time()) < 60
        assert found.host
    assert len(run_dir.submissions.read_bytes().splitlines()) == 2
