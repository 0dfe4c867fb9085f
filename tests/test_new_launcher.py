"""A launcher that bertjob does not have: with one function and one row every part of bertjob knows it."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fakes.commands import Commands
from planned import HERE, SMALL

from bertjob.cluster.doctor import findings
from bertjob.cluster.doctor.case import Typed
from bertjob.cluster.doctor.examine import examine
from bertjob.cluster.process_group import clean_environment
from bertjob.cluster.runs import catalog
from bertjob.cluster.runs.status import status
from bertjob.cluster.submit import submit
from bertjob.config.job import Image, Job, Launcher, Library, Resources
from bertjob.config.load import load_job
from bertjob.config.registry.launcher_programs import Probe, Program
from bertjob.config.registry.launchers import LAUNCHERS, LauncherRow, RankVariables
from bertjob.config.site import Mpi, Site
from bertjob.errors import PreflightError
from bertjob.launch.launchers import Launch, Start
from bertjob.launch.plan import Plan, plan
from bertjob.launch.pmi import Facts, Verdict
from bertjob.launch.script import script
from bertjob.lint.bash.parse import parse
from bertjob.lint.rules import check
from bertjob.lint.steps import starts
from bertjob.rundir.world import World, world_from

FLUX: Any = "flux"
SITE = Site(name="elcapitan", launcher=FLUX, defaults=Resources(time="1:00:00", gpus_per_node=2))


def command(start: Start) -> Launch:
    """The one function."""
    places = (f"--nodes={start.nodes}", f"--ntasks={start.ranks}", f"--cores-per-task={start.cpus_per_task}")
    return Launch(words=("flux", "run", *places), note="Flux starts the ranks.", python=(start.python, "-u", "-m"))


def predict(facts: Facts, launcher: Launcher) -> Iterator[Verdict]:
    if facts.needs_mpi and facts.program.family != "mpich":
        yield Verdict(launcher, None, "unknown", "whether Flux has the PMI of this MPI is not said")
    else:
        yield Verdict(launcher, None, "works", "Flux speaks PMI-1, as MPICH does")


ROW = LauncherRow(
    command=f"{__name__}:command",
    predict=f"{__name__}:predict",
    schedulers=frozenset({"slurm"}),
    preference=10,
    program=Program(
        name="flux",
        title="flux",
        probe=Probe(commands=("flux",), banners=(("Flux", r"flux-core:\s+(\S+)"),)),
        verbs=("run", "submit"),
        valued=("-n", "--ntasks", "-N", "--nodes", "-c", "--cores-per-task"),
    ),
    rank_variables=RankVariables(
        source="Flux", rank="FLUX_TASK_RANK", size="FLUX_JOB_SIZE", local_rank="FLUX_TASK_LOCAL_ID"
    ),
    pmi_variables=("PMI_FD",),
    leftovers=("FLUX_",),
)


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LAUNCHERS, FLUX, ROW)  #


def planned(site: Site = SITE, run_dir: str | None = None, **keys: Any) -> Plan:
    return plan(Job(name="j", **SMALL | {"resources": Resources(nodes=2)} | keys), site, run_dir, HERE)


def test_it_is_planned_and_stands_in_the_script_with_its_note() -> None:
    made = planned()
    assert made.shape.launcher == "flux"
    assert "# Flux starts the ranks.\nflux run --nodes=2 --ntasks=4 --cores-per-task=1 \\\n" in script(made)


def test_where_it_does_not_work_the_others_are_named() -> None:
    with pytest.raises(PreflightError, match="launcher flux does not work without a scheduler; these do: local, "):
        planned(Site(name="here", scheduler="none", launcher=FLUX), resources=Resources())


def test_auto_takes_it_where_nothing_else_is_known_to_work() -> None:
    site = msgspec.structs.replace(SITE, launcher="auto", mpi=Mpi(family="mpich", slurm=("none",)))
    made = planned(site, mpi=True, engine="podman", image=Image(ref="img:1", mpi=Library(family="mpich")))
    assert made.shape.launcher == "flux"
    assert "# Launcher auto takes flux: Flux speaks PMI-1, as MPICH does." in script(made)


def test_an_engine_that_inherits_nothing_is_given_its_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LAUNCHERS, FLUX, msgspec.structs.replace(ROW, schedulers=frozenset({"none"})))
    here = Site(name="here", scheduler="none", launcher=FLUX)
    engine = planned(here, engine="docker", image=Image(ref="img:1"), resources=Resources()).layers[1].words
    assert {"--env=FLUX_TASK_RANK", "--env=FLUX_JOB_SIZE", "--env=FLUX_TASK_LOCAL_ID"} <= set(engine)


def test_doctor_looks_for_its_program_and_judges_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = Commands(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{commands.folder}:{os.environ['PATH']}")
    job = msgspec.structs.replace(load_job("smoke").value, launcher=FLUX, resources=Resources(nodes=1))

    def launching() -> dict[str, tuple[str, str]]:
        case = examine(job, SITE, tmp_path / "run", Typed("elcapitan"), named=False)
        return {one.check: (one.level, one.finding) for one in findings(case)["launching"] if one.check != "otherwise"}

    found = launching()
    assert found["flux"] == ("fail", "launcher flux needs flux, which is not here")
    assert found["launcher"] == ("fail", "flux not here: flux was not found")
    commands.make("flux", "commands:    \t\t0.51.0\nlibflux-core:\t\t0.51.0\n")
    found = launching()
    assert found["flux"] == ("ok", "flux is Flux 0.51.0")
    assert found["launcher"] == ("ok", "flux works: Flux speaks PMI-1, as MPICH does")


def test_a_run_of_it_is_submitted_and_has_a_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    commands = Commands(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{commands.folder}:{os.environ['PATH']}")
    commands.make("sbatch", "Submitted batch job 4711\n")
    for name in ("srun", "sacct"):
        commands.make(name)
    commands.make("squeue", "4711|RUNNING|n[1-2]|None|\n")
    submitted = submit(planned(run_dir=str(tmp_path / "run")))
    assert "launcher: flux" in submitted.run_dir.job.read_text()
    (row,) = status(catalog.known()).rows
    assert (row.job_id, row.site) == ("4711", "elcapitan")


def test_lint_reads_its_command_line_and_its_variables() -> None:
    text = """\
#!/bin/bash
#SBATCH --nodes=2
echo "rank $FLUX_TASK_RANK"
flux run -N 2 --ntasks 8 python train.py
"""
    (start,) = starts(parse(text))
    assert start.launcher is not None
    assert start.launcher.name == "flux"
    assert [word.value for word in start.program] == ["python", "train.py"]
    found = [finding for finding in check(text) if finding.rule == "rank-in-batch-shell"]
    assert [finding.line for finding in found] == [3]


def test_a_rank_reads_its_place_from_its_variables_and_not_from_slurms() -> None:
    env = {"FLUX_TASK_RANK": "5", "FLUX_JOB_SIZE": "8", "FLUX_TASK_LOCAL_ID": "1"}
    env |= {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2", "SLURM_LOCALID": "0"}  # of its brokers
    assert world_from(env) == World(5, 8, 1, 2, "Flux")


def test_a_job_that_is_started_inside_of_one_of_its_jobs_does_not_inherit_its_variables() -> None:
    enclosing = {"FLUX_URI": "local:///tmp/x", "FLUX_TASK_RANK": "0"}
    assert clean_environment({**enclosing, "FLUXION": "kept"}) == {"FLUXION": "kept"}
