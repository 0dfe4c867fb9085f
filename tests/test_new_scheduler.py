"""A scheduler that bertjob does not have: with one row in each of the two tables a job goes all its way."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace
from planned import HERE, SMALL

from bertjob.cli.main import cli
from bertjob.cluster import host
from bertjob.cluster.doctor import findings
from bertjob.cluster.doctor.case import Case, Finding, Typed, ok
from bertjob.cluster.runs import catalog, logs
from bertjob.cluster.runs.catalog import Run
from bertjob.cluster.scheduler import CLIENTS, Client
from bertjob.cluster.scheduler_answers import Answer, JobInfo, JobState, SchedulerFacts, Started
from bertjob.cluster.submit import submit, submit_chain
from bertjob.config.job import Job, Resources
from bertjob.config.site import Site
from bertjob.errors import BertjobError, PreflightError, SchedulerError
from bertjob.launch.argv import Word
from bertjob.launch.plan import Plan, plan
from bertjob.launch.schedulers import SCHEDULERS
from bertjob.launch.script import script
from bertjob.rundir.directory import RunDir

TOY: Any = "toy"
"""A name that the Literal of a site's schedulers does not have."""


def header(job: Job, site: Site, run_dir: str | None, options: Collection[str]) -> Iterator[str]:
    yield f"#TOY nodes={job.resources.nodes} log={run_dir}/logs/%.out"
    yield from (f"#TOY {option}" for option in options)


def cores(asked: int) -> Word:
    return f"{asked}"


ROW = replace(
    SCHEDULERS["none"],
    where="under Toy",
    queues=True,
    has_walltime=True,
    launcher="openmpi",
    submit_command="toysub",
    cancel_command="toydel",
    leftover=lambda name: name.startswith("TOY_"),
    after=lambda words, job_id, cluster: (f"after={job_id}",),
    header=header,
    address=lambda site: ('read -r MASTER_ADDR < "$TOY_NODES"',),
    port_number="TOY_JOB",
    job_id='"$TOY_JOB"',
    cores=cores,
)


class Batch:
    """A batch system in a folder: a file for each job holds its state, and a job runs when somebody starts it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.nodes = folder / "nodes"
        self.nodes.write_text("localhost\n")
        self.scripts: dict[str, Path] = {}
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.questions: list[list[str]] = []
        self.room = 10

    def client(self) -> Client:
        """The half that acts."""
        return Client(
            submit=self.submit,
            find=lambda run_dir: (None, ""),
            query=self.query,
            cancel=self.cancel,
            withdraw=lambda run: False,
            installed=lambda: True,
            version=lambda: "1.0",
            estimate=lambda script: "",
            groups=lambda options: (),
            limits_handed_on=lambda options: (),
            home=str,
            facts=lambda options: SchedulerFacts(installed=True, version="1.0"),
            checks=f"{__name__}:CHECKS",
        )

    def submit(self, run_dir: RunDir) -> Started:
        if len(self.scripts) == self.room:
            raise SchedulerError("toysub: the queue is full")
        job_id = f"{100 + len(self.scripts)}"
        self.scripts[job_id] = run_dir.script
        (self.folder / job_id).write_text("pending")
        return Started(job_id)

    def query(self, runs: Collection[Run], patience: float) -> Answer:
        self.questions.append([run.submission.job_id for run in runs])
        return Answer({run.path: JobInfo(self.state(run.submission.job_id)) for run in runs})

    def cancel(self, runs: Collection[Run], *, at_once: bool) -> None:
        for run in runs:
            job_id = run.submission.job_id
            if self.state(job_id) is JobState.PENDING:
                (self.folder / job_id).write_text("cancelled")
            elif self.state(job_id) is JobState.RUNNING:
                self.running[job_id].send_signal(signal.SIGKILL if at_once else signal.SIGTERM)

    def state(self, job_id: str) -> JobState:
        """Where a job stands; its file says it."""
        file = self.folder / job_id
        process = self.running.get(job_id)
        if process is not None and process.poll() is not None and file.read_text() == "running":
            file.write_text("completed" if process.returncode == 0 else "failed")
        return JobState(file.read_text())

    def start(self, job_id: str) -> None:
        """Let a job run that waits, with the log that its script asks for."""
        path = self.scripts[job_id]
        asked = dict(
            word.split("=", 1)
            for line in path.read_text().splitlines()
            if line.startswith("#TOY ")
            for word in line.split()[1:]
        )
        (self.folder / job_id).write_text("running")
        with Path(asked["log"].replace("%", job_id)).open("ab") as log:
            self.running[job_id] = subprocess.Popen(
                ["bash", str(path)],
                env={**os.environ, "TOY_JOB": job_id, "TOY_NODES": str(self.nodes)},
                stdout=log,
                stderr=log,
            )


def queue(case: Case) -> Iterator[Finding]:
    yield ok("Toy", f"{case.machine.scheduler.version}: its folder is here")


CHECKS = (queue,)


@pytest.fixture
def batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Batch]:
    """The toy in both tables, an index of our own, and an mpirun that starts one rank."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    commands = tmp_path / "bin"
    commands.mkdir()
    mpirun = commands / "mpirun"
    mpirun.write_text('#!/bin/sh\nwhile [ "${1##*/}" != program ]; do shift; done\nexec "$@"\n')
    mpirun.chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    toy = Batch(tmp_path / "queue")
    monkeypatch.setitem(SCHEDULERS, TOY, ROW)  # type: ignore[arg-type]
    monkeypatch.setitem(CLIENTS, TOY, toy.client())  # type: ignore[arg-type]
    yield toy
    for process in toy.running.values():
        process.kill()
        process.wait()


Planned = Callable[..., Plan]


@pytest.fixture
def planned(tmp_path: Path) -> Planned:
    """A function that plans a job whose training is a few lines of Python."""

    def make(body: str = "", name: str = "squad", **resources: Any) -> Plan:
        program = tmp_path / name / "program"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!{sys.executable}\nimport os, signal, sys, time\n{textwrap.dedent(body)}")
        program.chmod(0o755)
        site = Site(name="playroom", scheduler=TOY, launcher="openmpi", python=str(program))
        job = Job(name=name, **SMALL, resources=Resources(time="10", **resources))
        return plan(job, site, str(tmp_path / name / "run"), HERE)

    return make


def bertjob(*words: str) -> Result:
    """A verb of the command line."""
    return CliRunner().invoke(cli, words)


def standing(*runs: str) -> list[str]:
    """States of runs as status shows them."""
    return [row["state"] for row in json.loads(bertjob("status", "--json", *runs).stdout)]


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_its_script_has_its_header_its_variables_and_none_of_slurms(batch: Batch, planned: Planned) -> None:
    text = script(planned(nodes=2))
    assert "Run it with toysub.\n#TOY nodes=2 log=" in text
    assert 'read -r MASTER_ADDR < "$TOY_NODES"\n' in text
    assert 'BERTJOB_JOB_ID="$TOY_JOB"\n' in text
    assert "SLURM" not in text
    assert "SBATCH" not in text


def test_a_job_is_submitted_waits_runs_and_completes(batch: Batch, planned: Planned) -> None:
    made = planned('print("job", os.environ["BERTJOB_JOB_ID"], "at", os.environ["MASTER_ADDR"])')
    submitted = submit(made)
    assert submitted.job_id == "100"
    assert standing("100") == ["pending"]
    with pytest.raises(PreflightError, match="its job 100 is still pending; cancel it or wait for it"):
        submit(made)
    batch.start("100")
    assert bertjob("wait", "100").exit_code == 0
    assert standing("100") == ["completed"]
    assert logs.read(submitted.run) == "job 100 at localhost\n"


def test_a_job_that_fails_is_waited_for_and_the_exit_code_says_so(batch: Batch, planned: Planned) -> None:
    submit(planned("sys.exit(3)"))
    batch.start("100")
    waited = bertjob("wait", "100")
    assert (waited.exit_code, "run (100) failed" in waited.stderr) == (1, True)


def test_a_job_that_waits_is_cancelled_and_one_that_runs_may_write_a_checkpoint(batch: Batch, planned: Planned) -> None:
    submit(planned(name="first"))
    body = """
        def stop(number, frame):
            print("checkpoint", flush=True)
            sys.exit(85)
        signal.signal(signal.SIGUSR1, stop)
        print("ready", flush=True)
        time.sleep(60)
    """
    second = submit(planned(body, name="second"))
    batch.start("101")
    until(lambda: logs.read(second.run) == "ready\n")
    assert bertjob("cancel", "100", "101").exit_code == 0
    assert bertjob("wait", "100", "101").exit_code == 1
    assert standing("100", "101") == ["cancelled", "failed"]
    assert logs.read(second.run) == "ready\ncheckpoint\n"


def test_the_jobs_of_a_chain_wait_for_each_other_and_are_taken_back_together(batch: Batch, planned: Planned) -> None:
    first, second = submit_chain([planned(name="first"), planned(name="second")])
    assert "\n#TOY after=100\n" in second.run_dir.script.read_text()
    assert "after" not in first.run_dir.script.read_text()
    assert second.run.submission.after == "100"
    batch.room = 3
    with pytest.raises(SchedulerError, match="toysub: the queue is full"):
        submit_chain([planned(name="third"), planned(name="fourth")])
    assert [batch.state(job_id).value for job_id in ("100", "101", "102")] == ["pending", "pending", "cancelled"]


def test_runs_of_several_schedulers_are_asked_about_once_each(
    batch: Batch, planned: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "second"):
        submit(planned(name=name))
    folder = RunDir(tmp_path / "here")
    folder.path.mkdir()
    catalog.record(folder, job_id="local", site="local", scheduler="none", pid=2**22)
    batch.questions.clear()
    assert standing() == ["pending", "pending", "lost"]
    assert batch.questions == [["100", "101"]]


def test_what_only_slurm_has_is_refused_in_its_name(batch: Batch, planned: Planned) -> None:
    site = Site(name="playroom", scheduler=TOY, launcher="srun")
    with pytest.raises(PreflightError, match="launcher srun does not work under Toy; these do: openmpi, hydra"):
        plan(Job(name="j", **SMALL), site, None, HERE)


def test_a_scheduler_of_another_version_hides_its_runs_and_no_others(
    batch: Batch, planned: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = submit(planned()).run
    monkeypatch.delitem(SCHEDULERS, TOY)  # type: ignore[arg-type]
    assert catalog.read(run.run_dir) is None
    assert catalog.known() == []
    with pytest.raises(BertjobError, match="100: no such run"):
        catalog.find("100")


def test_doctor_shows_its_facts_by_its_own_checks(batch: Batch, planned: Planned) -> None:
    made = planned()
    case = Case(job=made.job, site=made.site, machine=host.look(made.site, {}), typed=Typed("playroom"), plan=made)
    found = findings(case)
    assert found["scheduler"] == [ok("Toy", "1.0: its folder is here")]
    remedies = [finding.remedy for finding in found["launching"] if finding.check == "proof"]
    assert remedies == ["`bertjob doctor --prove --nodes 2 --site playroom`"]
