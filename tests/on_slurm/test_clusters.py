"""Two clusters in one slurmdbd: a run's job is known by cluster and number, and no stranger's job is touched."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from face import Face
from slurm.conf import Shape
from slurm.lab import Lab
from until import until

from bertjob.rundir import lease, submissions
from bertjob.rundir.directory import RunDir

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def second(lab: Lab) -> Iterator[Shape]:
    with lab.second() as shape:
        yield shape


@pytest.fixture
def other(second: Shape, cluster: Lab) -> Iterator[str]:
    """Name of the second cluster, as ``-M`` has it on the first one's login node."""
    yield second.name
    subprocess.run(["scancel", "-M", second.name, "--user=root"], check=False)


def ask(*command: str) -> list[str]:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def submit_innocent(*words: str) -> int:
    answer = ask("sbatch", "--parsable", *words, "--hold", "--job-name=innocent", "--output=/dev/null", "--wrap=true")
    return int(answer[-1].partition(";")[0])


def give_the_next_number_to_a_stranger(other: str) -> None:
    """The next job of the other cluster will have a number that a job of this one has already."""
    here, there = submit_innocent(), submit_innocent(f"--clusters={other}")
    while here <= there:
        here = submit_innocent()
    while there < here - 1:
        there = submit_innocent(f"--clusters={other}")


def states(number: int | str, *where: str) -> list[str]:
    """Name and state of the job of a number."""
    return ask("squeue", *where, "--noheader", "--states=all", f"--jobs={number}", "--format=%j %T")


def test_the_second_cluster_runs_jobs_on_the_same_machines(cluster: Lab, second: Shape) -> None:
    hosts = ask("srun", "-M", second.name, "-N4", "sh", "-c", "hostname; printenv SLURM_CLUSTER_NAME")
    assert sorted(hosts) == sorted([second.name] * 4 + [cluster.shape.host(node) for node in cluster.nodes])


@pytest.mark.parametrize("named", ["option", "site", "variable"])
def test_a_run_on_another_cluster_is_not_mistaken_for_the_job_of_its_number_here(
    bertjob: Face, cluster: Lab, other: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = ("-M", cluster.shape.name), ("-M", other)
    give_the_next_number_to_a_stranger(other)
    words = ["--", "--hold"]
    if named == "option":
        words += ["-M", other]
    if named == "variable":
        monkeypatch.setenv("SLURM_CLUSTERS", other)
    defaults = {"defaults": {"sbatch": [f"--clusters={other}"]}} if named == "site" else {}
    site = bertjob.site("mine", python="/bin/true", **defaults)
    done = bertjob("submit", bertjob.job(), "--site", site, "--run-dir", "run", *words)
    number = done.stdout.splitlines()[-1]
    assert states(number, *here) == ["innocent", "PENDING"]
    assert states(number, *there) == ["squad", "PENDING"]
    (row,) = json.loads(bertjob("status", "run", "--json").stdout)
    assert (row["job_id"], row["cluster"], row["state"], row["reason"]) == (number, other, "pending", "JobHeldUser")
    first, *_ = bertjob("status", "run").stdout.splitlines()
    assert first.split() == ["id", "cluster", "run", "site", "state"]
    bertjob("cancel", "run")
    assert states(number, *here) == ["innocent", "PENDING"]
    assert states(number, *there) == ["squad", "CANCELLED"]


def test_a_home_that_two_clusters_share(
    bertjob: Face, other: str, second: Shape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_the_next_number_to_a_stranger(other)
    site = bertjob.site("mine", python="/bin/true")
    with monkeypatch.context() as there:
        there.setenv("SLURM_CONF", str(second.slurm_conf))
        number = bertjob("submit", bertjob.job(), "--site", site, "--run-dir", "run", "--", "--hold").stdout.split()[-1]
        assert states(number) == ["squad", "PENDING"]
    assert states(number) == ["innocent", "PENDING"]
    (row,) = json.loads(bertjob("status", "run", "--json").stdout)
    assert (row["cluster"], row["state"]) == (other, "pending")
    refused = bertjob("submit", bertjob.job(), "--site", site, "--run-dir", "run", code=3)
    assert f"its job {number} on {other} is still pending" in refused.stderr
    # What the script finds out by itself, where a person hands it to this cluster's sbatch.
    by_hand = ask("sbatch", "--parsable", str(tmp_path / "run" / "job.sbatch"))[0]
    subprocess.run(["scontrol", "release", by_hand], check=True)
    log = RunDir(tmp_path / "run").log(by_hand)
    until(lambda: log.exists() and "bertjob:" in log.read_text() and "still" in log.read_text())
    assert f"job {number} on {other} is still pending there" in log.read_text()
    bertjob("cancel", str(tmp_path / "run"), code=0)
    assert states(number) == ["innocent", "PENDING"]


def test_the_number_of_an_older_submission_that_a_stranger_has_here_is_left_alone(
    bertjob: Face, other: str, tmp_path: Path
) -> None:
    give_the_next_number_to_a_stranger(other)
    site = bertjob.site("mine", python="/bin/true")
    bertjob("submit", bertjob.job(), "--site", site, "--run-dir", "run", "--", "--hold", "-M", other)
    run = RunDir(tmp_path / "run")
    said = submissions.newest(run)
    assert said is not None
    older = {name: getattr(said, name) for name in ("job_id", "site", "scheduler", "time", "host")}
    run.submissions.write_text(json.dumps(older) + "\n")
    bertjob("status", "--rebuild", tmp_path)
    (row,) = json.loads(bertjob("status", "run", "--json").stdout)
    assert row["state"] == "unknown"
    assert row["reason"].startswith(f"job {said.job_id} here is not the run's, but innocent of root, submitted in ")
    refused = bertjob("cancel", "run", code=4)
    assert refused.stderr.splitlines()[-1].startswith("bertjob: not cancelled: run: job ")
    bertjob("cancel", "--now", "run", code=4)
    assert states(said.job_id) == ["innocent", "PENDING"]


def test_a_script_that_a_person_submits_elsewhere_tells_its_cluster(bertjob: Face, other: str, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nexec sleep 100\n")
    program.chmod(0o755)
    site = bertjob.site("mine", python=str(program))
    give_the_next_number_to_a_stranger(other)
    (tmp_path / "job.sh").write_text(bertjob("script", bertjob.job(), "--site", site).stdout)
    command = ["sbatch", "--parsable", "-M", other, "--job-name=by hand", "job.sh"]
    answer = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()
    number = answer.removesuffix(f";{other}")
    run = RunDir(tmp_path / "runs" / f"squad-{number}")
    until(run.submissions.exists)
    said = submissions.newest(run)
    assert said is not None
    assert (said.cluster, said.job_name, said.directory) == (other, "by hand", str(tmp_path))
    (row,) = json.loads(bertjob("status", run.path, "--json").stdout)
    assert (row["cluster"], row["state"]) == (other, "running")
    bertjob("cancel", "--now", run.path)
    until(lambda: states(number, "-M", other)[-1] == "CANCELLED")
    assert states(number) == ["innocent", "PENDING"]


def test_the_nodes_of_the_cluster_that_is_named_are_looked_at(bertjob: Face, other: str) -> None:
    site = bertjob.site("mine", python="/bin/true")
    words = (bertjob.job(), "--site", site)
    refused = bertjob("submit", *words, "--cpus-per-task", 13, "--", "-M", other, code=3)
    assert f"partition normal of cluster {other}: 13 CPUs per node are asked for, there are 12" in refused.stderr
    assert "sbatch --test-only: to start at " in bertjob("submit", *words, "--dry-run", "--", "-M", other).stderr
    there = bertjob.site("there", python="/bin/true", defaults={"sbatch": [f"--clusters={other}"]})
    found = json.loads(bertjob("doctor", "--site", there, "--nodes", "2", "--json").stdout)
    (line,) = (line for line in found if line["check"] == "partition")
    assert line["finding"].startswith(f"normal of cluster {other}: 4 nodes")
    assert line["level"] == "ok"


def test_a_chain_stays_on_the_cluster_that_took_its_first_job(bertjob: Face, cluster: Lab, other: str) -> None:
    site = bertjob.site("mine", python="/bin/true")
    jobs = [bertjob.job("one"), bertjob.job("two")]
    where = f"{other},{cluster.shape.name}"
    done = bertjob("submit", "--chain", *jobs, "--site", site, "--json", "--", "-M", where)
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert said[0]["cluster"] == said[1]["cluster"]
    bertjob("wait", *(one["run_dir"] for one in said))


def test_a_number_that_is_given_again_after_the_counter_was_lost_is_left_alone(
    bertjob: Face, second: Shape, lab: Lab, tmp_path: Path
) -> None:
    site = bertjob.site("mine", python="/bin/true")
    words = (bertjob.job(), "--site", site)
    there = ("--", "--hold", "-M", second.name)
    submit_innocent(f"--clusters={second.name}")
    number = bertjob("submit", *words, "--run-dir", "old", *there).stdout.split()[-1]
    lab.forget_jobs(second)
    while submit_innocent(f"--clusters={second.name}") < int(number) - 1:
        pass
    assert bertjob("submit", *words, "--run-dir", "new", *there).stdout.split()[-1] == number
    assert states(number, "-M", second.name) == ["squad", "PENDING"]  # the same name, user and working directory
    (row,) = json.loads(bertjob("status", "old", "--json").stdout)
    assert row["state"] == "lost"
    left = bertjob("cancel", "old")
    assert f"left alone: old: job {number} is not the run's any more, but squad of root" in left.stderr
    assert states(number, "-M", second.name) == ["squad", "PENDING"]
    assert lease.read(RunDir(tmp_path / "old")) is not None
