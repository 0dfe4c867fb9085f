"""Resource limits of the shell that submits, which Slurm hands on: warned of before the job is queued."""

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.commands import Commands
from planned import HERE, LOCAL, SLURM, SMALL, with_

from bertjob.cluster.limit_checks import problems
from bertjob.cluster.local import check_start
from bertjob.cluster.slurm.facts import limits_handed_on
from bertjob.cluster.submit import check_chain
from bertjob.config.job import Job, Resources
from bertjob.config.site import Fabric, Site
from bertjob.launch.plan import Plan, plan

GIB = 1 << 30
Set = Callable[..., None]


def wanted(site: Site = SLURM, folder: str = "/runs/run", **resources: Any) -> Plan:
    asked: dict[str, Any] = {"nodes": 2, "gpus_per_node": 0, "cpus_per_task": 4, "time": "1:00:00"} | resources
    return plan(Job(name="j", **SMALL, resources=Resources(**asked)), site, folder, HERE)


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Set:
    """Gives this shell soft limits, and no others."""

    def set_limits(hard: int = resource.RLIM_INFINITY, **soft: int) -> None:
        known = {getattr(resource, f"RLIMIT_{name}"): value for name, value in soft.items()}
        monkeypatch.setattr(resource, "getrlimit", lambda kind: (known.get(kind, resource.RLIM_INFINITY), hard))

    return set_limits


INFINIBAND = with_(SLURM, fabric=Fabric(fast=True))


@pytest.mark.parametrize(
    ("soft", "site", "asked", "said"),
    [
        ({"CPU": 600}, SLURM, {}, "RLIMIT_CPU is 600 s of CPU time for a process (ulimit -t)"),
        ({"CPU": 3 * 3600}, SLURM, {}, "RLIMIT_CPU is 10800 s"),
        ({"AS": 4 * GIB}, SLURM, {}, "RLIMIT_AS is 4 GiB of address space for a process (ulimit -v)"),
        ({"AS": 200 * GIB}, SLURM, {"gpus_per_node": 1}, "RLIMIT_AS is 200 GiB"),
        ({"FSIZE": GIB}, SLURM, {}, "RLIMIT_FSIZE is 1 GiB for a file (ulimit -f)"),
        ({"MEMLOCK": 64 << 10}, INFINIBAND, {}, "RLIMIT_MEMLOCK is 64 KiB of locked memory (ulimit -l)"),
        ({"NOFILE": 64}, SLURM, {}, "RLIMIT_NOFILE is 64 files open in a process (ulimit -n)"),
        ({"NPROC": 100}, SLURM, {}, "RLIMIT_NPROC is 100 processes"),
        ({"STACK": 64 << 10}, SLURM, {}, "RLIMIT_STACK is 64 KiB of stack"),
    ],
)
def test_a_limit_that_the_job_would_reach_is_named(
    shell: Set, commands: Commands, soft: dict[str, int], site: Site, asked: dict[str, Any], said: str
) -> None:
    shell(**soft)
    (problem,) = problems(wanted(site, **asked))
    assert problem.what.startswith(said)
    assert problem.what.endswith(" in this shell, and so in its jobs, which may end this one")
    option = said.partition("(ulimit ")[2].rstrip(")") or problem.what.partition("(ulimit ")[2][:2]
    assert problem.remedy == f"`ulimit -S {option} unlimited` first, or `-- --propagate=NONE`"


@pytest.mark.parametrize(
    ("soft", "site", "asked"),
    [
        ({"CPU": 4 * 3600}, SLURM, {}),
        ({"AS": 200 * GIB}, SLURM, {}),
        ({"FSIZE": 50 * GIB}, SLURM, {}),
        ({"MEMLOCK": 64 << 10}, SLURM, {}),
        ({"MEMLOCK": 64 << 10}, INFINIBAND, {"nodes": 1}),
        ({"NOFILE": 1024, "NPROC": 4096, "STACK": 8 << 20}, SLURM, {}),
    ],
)
def test_ordinary_limits_are_none_of_its_business(
    shell: Set, commands: Commands, soft: dict[str, int], site: Site, asked: dict[str, Any]
) -> None:
    shell(**soft)
    assert not list(problems(wanted(site, **asked)))
    assert not commands.calls("scontrol")


def test_a_hard_limit_is_as_far_as_it_can_be_raised(shell: Set, commands: Commands) -> None:
    shell(AS=4 * GIB, hard=8 * GIB)
    (problem,) = problems(wanted())
    assert problem.remedy.startswith("`ulimit -S -v 8388608` first")
    shell(AS=4 * GIB, hard=4 * GIB)
    (problem,) = problems(wanted())
    assert problem.remedy == "`-- --propagate=NONE`"
    (problem,) = problems(wanted(LOCAL, nodes=1))
    assert problem.remedy == "another shell, as this one may not raise it"


def test_a_run_on_this_machine_has_the_limits_of_its_shell(shell: Set) -> None:
    shell(CPU=600)
    (problem,) = problems(wanted(LOCAL, nodes=1))
    assert problem.what.endswith("in this shell, which may end this one")
    assert problem.remedy == "`ulimit -S -t unlimited` first"


@pytest.mark.parametrize(
    ("settings", "options", "travel"),
    [
        ("", (), True),
        ("PropagateResourceLimits = ALL\nPropagateResourceLimitsExcept = (null)\n", (), True),
        ("PropagateResourceLimits = NONE\n", (), False),
        ("PropagateResourceLimits = AS,CPU\n", (), True),
        ("PropagateResourceLimits = AS,FSIZE\n", (), False),
        ("PropagateResourceLimitsExcept = MEMLOCK,CPU\n", (), False),
        ("PropagateResourceLimitsExcept = MEMLOCK\n", (), True),
        ("", ("--propagate=NONE",), False),
        ("", ("--propag=RLIMIT_STACK",), False),
        ("PropagateResourceLimits = NONE\n", ("--propagate",), True),
        ("PropagateResourceLimits = NONE\n", ("--propagate=CPU,AS",), True),
        ("", ("--profile=All",), True),
    ],
)
def test_slurms_settings_decide_whether_a_limit_travels(
    shell: Set, commands: Commands, settings: str, options: tuple[str, ...], travel: bool
) -> None:
    commands.make("scontrol", f"Configuration data as of 2026-11-20T13:51:50\n{settings}")
    shell(CPU=600)
    assert ("CPU" in limits_handed_on(options)) == travel
    assert bool(list(problems(wanted(sbatch=options)))) == travel


def test_submit_warns(shell: Set, commands: Commands, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shell(CPU=600)
    check_chain([wanted(folder=str(tmp_path / "run"))])
    assert "warning: RLIMIT_CPU is 600 s of CPU time for a process" in caplog.text


@pytest.mark.parametrize("soft", [{"CPU": 600}, {"AS": 4 * GIB}, {"FSIZE": GIB}])
def test_run_warns(shell: Set, tmp_path: Path, caplog: pytest.LogCaptureFixture, soft: dict[str, int]) -> None:
    shell(**soft)
    check_start(wanted(LOCAL, str(tmp_path / "run"), nodes=1))
    (name,) = soft
    assert f"warning: RLIMIT_{name} is" in caplog.text
    assert "in this shell, which may end this one" in caplog.text


def test_the_settings_of_the_cluster_that_is_named_count(commands: Commands) -> None:
    commands.make("scontrol", "PropagateResourceLimits = NONE\n")
    assert limits_handed_on(("--clusters=other,more",)) == frozenset()
    assert commands.calls("scontrol") == [["--clusters=other", "show", "config"]]
