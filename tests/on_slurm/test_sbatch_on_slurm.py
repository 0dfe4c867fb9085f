"""sbatch as sites wrap it, on a real Slurm: the job is found, its folder stays, and nobody else's job is touched."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from face import Face
from slurm.lab import Lab
from until import until

pytestmark = pytest.mark.cluster

SBATCH = shutil.which("sbatch")
LOCAL = {
    "number only": "{sbatch} \"$@\" | sed 's/Submitted batch job //'",
    "banner": "echo 'Your last job 7 used 3 hours.'; exec {sbatch} \"$@\"",
}
WRAPPERS = {
    "an exit code of its own": '{sbatch} "$@"; exit 1',
    "a number behind": '{sbatch} "$@"; echo 7',
    "an output that nobody sees": '{sbatch} "$@" > /dev/null',
    "another language": 'echo Auftrag $({sbatch} "$@") eingereicht',
    "a copy in a pipe": 'shift; sed s/nothing/nothing/ "$1" | {sbatch} --parsable',
    "a copy from another folder": 'cp "$2" "$0.copy"; cd /; {sbatch} --parsable "$0.copy"',
    "words behind the script": '{sbatch} "$@" --comment=site',
    "killed behind the queue": '{sbatch} "$@" > /dev/null; kill -KILL $$',
}
LEAST = ("an exit code of its own", "a copy from another folder")


def jobs() -> set[str]:
    listed = ["squeue", "--noheader", "--states=all", "--format=%A|%T"]
    return set(subprocess.run(listed, check=True, capture_output=True, text=True).stdout.split())


@pytest.fixture
def wrapped(tmp_path: Path, cluster: Lab, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The sbatch that comes first on PATH."""
    path = tmp_path / "site" / "sbatch"
    path.parent.mkdir()
    monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")
    return path


@pytest.mark.fault(
    "sbatch wrapped by the site: {wrapper}",
    survived="yes: the queue tells which job it is",
    lost="nothing",
    reported="what the wrapper says is shown",
)
@pytest.mark.parametrize(
    "wrapper",
    [*LEAST, *(pytest.param(name, marks=pytest.mark.faults) for name in (LOCAL | WRAPPERS) if name not in LEAST)],
)
def test_a_job_is_found_whatever_sbatch_prints(bertjob: Face, wrapped: Path, wrapper: str) -> None:
    wrapped.write_text("#!/bin/bash\n" + (LOCAL | WRAPPERS)[wrapper].format(sbatch=SBATCH) + "\n")
    wrapped.chmod(0o755)
    before = jobs()
    site = bertjob.site("lab", python="/bin/true")
    done = bertjob("submit", bertjob.job(), "--site", site, "--run-dir", "run", "--wait")
    job_id = done.stdout.split()[-1]
    (new,) = jobs() - before
    assert new == f"{job_id}|COMPLETED"
    (row,) = json.loads(bertjob("status", "--json", job_id).stdout)
    assert (row["state"], row["reason"]) == ("completed", "")
    assert (bertjob.folder / "run" / "logs" / f"{job_id}.out").exists()


@pytest.mark.fault(
    "no answer of the controller after the job is queued",
    survived="yes: the run directory stays, and the job runs in it",
    lost="nothing",
    reported="that the job may be queued, and where it runs",
)
def test_a_lost_answer_keeps_the_folder_of_a_queued_job(bertjob: Face, wrapped: Path, cluster: Lab) -> None:
    for name, text in {"sbatch": f'{SBATCH} "$@" > /dev/null; exit 1', "squeue": "echo away >&2; exit 1"}.items():
        (wrapped.parent / name).write_text(f"#!/bin/bash\n{text}\n")
        (wrapped.parent / name).chmod(0o755)
    site, run = bertjob.site("lab", python="/bin/true"), bertjob.folder / "run"
    done = bertjob("submit", bertjob.job(), "--site", site, "--run-dir", run, "--", "--hold", code=4)
    assert f"if squeue shows the job later, it runs in {run}, which stays" in done.stderr
    (row,) = json.loads(bertjob("status", "--json", code=4).stdout)
    assert (row["run_dir"], row["state"], row["job_id"]) == (str(run), "unknown", "")
    (wrapped.parent / "squeue").unlink()
    (row,) = json.loads(bertjob("status", "--json").stdout)
    assert (row["state"], row["reason"]) == ("pending", "JobHeldUser")
    subprocess.run(["scontrol", "release", row["job_id"]], check=True)
    bertjob("wait", row["job_id"])
    assert f"{row['job_id']}|COMPLETED" in jobs()


def test_a_dry_run_says_when_slurm_would_start_the_job_and_queues_none(bertjob: Face, cluster: Lab) -> None:
    before, site = jobs(), bertjob.site("lab", python="/bin/true")
    done = bertjob("submit", bertjob.job(), "--site", site, "--dry-run")
    assert "sbatch --test-only: to start at " in done.stderr
    assert done.stdout.startswith("#!")
    refused = bertjob("submit", bertjob.job(), "--site", site, "--dry-run", "--", "-C", "[nope|gpu]")
    assert "sbatch --test-only: Invalid feature specification" in refused.stderr
    assert jobs() == before


def test_a_chain_whose_first_job_does_not_start_in_time_is_cancelled_whole(bertjob: Face, cluster: Lab) -> None:
    site = bertjob.site("lab", python="/bin/true")
    chain = ("submit", "--chain", bertjob.job("one"), bertjob.job("two"), bertjob.job("three"), "--site", site)
    done = bertjob(*chain, "--max-pending", "0:02", "--", "--begin=now+1hour", code=5)
    first, *behind = done.stdout.split()
    assert f"job {first} was still pending" in done.stderr.splitlines()[-1]
    assert done.stderr.splitlines()[-1].endswith(f"; those behind it are cancelled too: {', '.join(behind)}")
    assert {f"{job_id}|CANCELLED" for job_id in (first, *behind)} <= jobs()
    assert len(bertjob(*chain, "--max-pending", "5", "--wait").stdout.split()) == 3


SLOW = {
    "behind the queue": '{sbatch} "$@"; code=$?; sleep 3; exit "$code"',
    "before the queue": 'sleep 3; exec {sbatch} "$@"',
    "without an id": '{sbatch} "$@" > /dev/null; sleep 3',
}


@pytest.mark.fault(
    "{name} during an sbatch that takes its time {where}",
    survived="with the same command",
    lost="nothing",
    reported="interrupted; cancelled, with the id",
)
@pytest.mark.parametrize(
    ("where", "name"),
    [
        ("behind the queue", "SIGINT"),
        *(
            pytest.param(where, name, marks=pytest.mark.faults)
            for where in SLOW
            for name in ("SIGINT", "SIGTERM", "SIGHUP")
            if (where, name) != ("behind the queue", "SIGINT")
        ),
    ],
)
def test_an_interrupted_submit_leaves_no_job_that_nobody_knows(
    bertjob: Face, wrapped: Path, where: str, name: str
) -> None:
    began = bertjob.folder / "began"
    wrapped.write_text(f"#!/bin/bash\n: > {began}\n" + SLOW[where].format(sbatch=SBATCH) + "\n")
    wrapped.chmod(0o755)
    before = jobs()
    site = bertjob.site("lab", python="/bin/true")
    command = bertjob.command("submit", bertjob.job(), "--site", site, "--run-dir", "run")
    with subprocess.Popen(
        [*command, "--", "--hold"], cwd=bertjob.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as started:
        until(began.exists)
        started.send_signal(signal.Signals[name])
        _, said = started.communicate(timeout=300)
    assert started.returncode not in (0, None)
    assert "Traceback" not in said
    (new,) = jobs() - before
    job_id = new.partition("|")[0]
    assert new == f"{job_id}|CANCELLED"
    assert f"interrupted; cancelled: {job_id}" in said
    assert (bertjob.folder / "run" / "job.sbatch").exists()
    assert json.loads(bertjob("status", "--json", "run").stdout)[0]["job_id"] == job_id


def test_options_that_would_end_in_a_lost_folder_are_refused(bertjob: Face, tmp_path: Path) -> None:
    done = bertjob("submit", bertjob.job(), "--run-dir", "run", "--", "--wait", code=3)
    assert "use `bertjob submit --wait`" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_job_that_does_not_start_in_time_is_cancelled_and_one_that_does_is_not(bertjob: Face, cluster: Lab) -> None:
    site = bertjob.site("lab", python="/bin/true")
    words = ("submit", bertjob.job(), "--site", site)
    done = bertjob(*words, "--max-pending", "0:02", "--", "--begin=now+1hour", code=5)
    job_id = done.stdout.split()[-1]
    assert f"job {job_id} was still pending" in done.stderr.splitlines()[-1]
    assert f"{job_id}|CANCELLED" in jobs()
    started = bertjob(*words, "--max-pending", "5", "--wait").stdout.split()[-1]
    assert f"{started}|COMPLETED" in jobs()


@pytest.mark.fault(
    "the controller is down when a job has waited for too long",
    survived="yes: the job is left alone until it answers",
    lost="nothing",
    reported="that the job may have started",
)
def test_the_wait_for_a_start_outlives_the_controller(bertjob: Face, cluster: Lab) -> None:
    site = bertjob.site("lab", python="/bin/true")
    command = [*bertjob.command("submit", bertjob.job(), "--site", site, "--max-pending", "0:02"), "--", "--hold"]
    with subprocess.Popen(
        command, cwd=bertjob.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as waiting:
        assert waiting.stdout is not None
        assert waiting.stderr is not None
        job_id = waiting.stdout.readline().strip()
        cluster.stop_daemon("slurmctld")
        try:
            until(lambda: "may have started" in (waiting.stderr.readline() if waiting.stderr else ""), seconds=120)
        finally:
            cluster.start_daemon("slurmctld")
        assert waiting.wait(timeout=300) == 5
    assert f"{job_id}|CANCELLED" in jobs()
