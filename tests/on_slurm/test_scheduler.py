"""The scheduler's faults, made on a real Slurm: what is said, what is left behind, and what still works."""

import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from face import Face
from slurm.lab import Lab
from until import until

pytestmark = pytest.mark.cluster


def scheduler_says(job_id: str) -> str:
    command = ["squeue", "--noheader", "--states=all", f"--jobs={job_id}", "--format=%T"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def left_in(folder: Path) -> set[str]:
    """Everything below a folder but the test's own job and site files."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix != ".yaml"}


def test_success_and_failure_of_a_job_are_the_exit_codes_of_wait(bertjob: Face) -> None:
    good, bad = bertjob.site("good", python="/bin/true"), bertjob.site("bad", python="/bin/false")
    bertjob("submit", bertjob.job(), "--site", good, "--wait")
    done = bertjob("submit", bertjob.job(), "--site", bad, "--wait", code=1)
    job_id = done.stdout.split()[-1]
    assert scheduler_says(job_id) == "FAILED"
    bertjob("wait", job_id, code=1)
    rows = json.loads(bertjob("status", "--json").stdout)
    assert [(row["site"], row["state"]) for row in rows] == [("good", "completed"), ("bad", "failed")]


def test_a_refusal_is_one_line_with_exit_code_4_and_leaves_nothing(bertjob: Face, tmp_path: Path) -> None:
    site = bertjob.site("lab", python="/bin/true")
    done = bertjob("submit", bertjob.job(), "--site", site, "--partition", "nope", code=4)
    assert done.stderr.splitlines()[-1] == (
        "bertjob: sbatch: invalid partition specified: nope;"
        " Batch job submission failed: Invalid partition name specified"
    )
    assert left_in(tmp_path) == set()


def test_a_stopped_controller_is_one_line_and_leaves_nothing(bertjob: Face, cluster: Lab, tmp_path: Path) -> None:
    job, site = bertjob.job(), bertjob.site("lab", python="/bin/true")
    job_id = bertjob("submit", job, "--site", site, "--wait").stdout.split()[-1]
    before = left_in(tmp_path)
    cluster.stop_daemon("slurmctld")
    try:
        with ThreadPoolExecutor() as pool:  # each waits nine seconds for the controller
            submitted = pool.submit(bertjob, "submit", job, "--site", site, code=4)
            shown = pool.submit(bertjob, "status", "--json", job_id)
            cancelled = pool.submit(bertjob, "cancel", job_id)
        assert "Unable to contact slurm controller" in submitted.result().stderr.splitlines()[-1]
        assert cancelled.result().stderr.startswith("had already ended: ")  # as the accounting knows
        assert left_in(tmp_path) == before
        assert json.loads(shown.result().stdout)[0]["state"] == "completed"  # the accounting knows
    finally:
        cluster.start_daemon("slurmctld")


def test_without_accounting_jobs_are_submitted_watched_and_waited_for(bertjob: Face, cluster: Lab) -> None:
    site = bertjob.site("lab", python="/bin/true")
    cluster.stop_daemon("slurmdbd")
    try:
        done = bertjob("submit", bertjob.job(), "--site", site, "--wait")
        job_id = done.stdout.split()[-1]
        assert json.loads(bertjob("status", "--json", job_id).stdout)[0]["state"] == "completed"
    finally:
        cluster.start_daemon("slurmdbd")


def test_a_job_that_waits_says_why_and_can_be_cancelled(bertjob: Face) -> None:
    site = bertjob.site("lab", python="/bin/true")
    done = bertjob("submit", bertjob.job(), "--site", site, "--", "--begin=now+1hour", "--dependency=singleton")
    job_id = done.stdout.split()[-1]
    time.sleep(0.5)
    row = json.loads(bertjob("status", "--json", job_id).stdout)[0]
    assert (row["state"], row["reason"]) in [("pending", "BeginTime"), ("pending", "None")]
    bertjob("cancel", job_id)
    bertjob("wait", job_id, code=1)
    assert scheduler_says(job_id) == "CANCELLED"


def test_a_job_whose_node_fails_is_requeued_and_waited_for(bertjob: Face, cluster: Lab, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text('#!/bin/sh\n[ "${SLURM_RESTART_COUNT:-0}" -ge 1 ] && exit\necho started; exec sleep 100\n')
    program.chmod(0o755)
    site = bertjob.site("lab", python=str(program))
    job_id = bertjob("submit", bertjob.job(), "--site", site, "--run-dir", "run").stdout.split()[-1]
    log = tmp_path / "run" / "logs" / f"{job_id}.out"
    until(lambda: log.exists() and log.read_text().count("started") == 4)
    cluster.crash(2)
    try:
        until(lambda: scheduler_says(job_id) != "RUNNING")
        assert json.loads(bertjob("status", "--json", job_id).stdout)[0]["state"] in ("pending", "completing")
    finally:
        cluster.boot(2)
    bertjob("wait", job_id)
