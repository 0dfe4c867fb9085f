"""The sites that bertjob brings: where their facts come from, what they refuse, and the scripts they make."""

import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from planned import HERE, SLURM, made, with_

from bertjob.cli.main import cli
from bertjob.config import walltime
from bertjob.config.job import Resources
from bertjob.config.load import load_job, load_site
from bertjob.config.search import names, shipped_folder
from bertjob.config.site import Fabric, Site
from bertjob.errors import PreflightError
from bertjob.launch.plan import Plan, plan
from bertjob.launch.problems import refuse_problems
from bertjob.launch.script import script

SITES = sorted(path.stem for path in shipped_folder("site").glob("*.yaml"))
MACHINES = [name for name in SITES if name not in ("generic", "local")]


def site(name: str) -> Site:
    return load_site(str(shipped_folder("site") / f"{name}.yaml")).value


def on_two_nodes(name: str, *settings: str) -> Plan:
    """The squad job, with a batch that comes out even on eight GPUs a node."""
    said = ("resources.nodes=2", "train.global_batch=48", *settings)
    return plan(load_job("squad", said).value, site(name), None, HERE)


def test_the_sites_of_the_issue_are_there() -> None:
    assert {"daint", "alps", "eiger", "perlmutter", "lumi", "leonardo", "juwels-booster"} == set(MACHINES)
    assert {"generic", "local"} <= set(SITES)


@pytest.mark.parametrize("name", SITES)
def test_a_site_is_called_as_its_file(name: str) -> None:
    assert site(name).name == name


@pytest.mark.parametrize("name", MACHINES)
def test_facts_of_a_machine_have_a_public_document_and_its_date(name: str) -> None:
    source = site(name).source
    assert re.search(r"\b20\d\d\b", source)
    assert name == "daint" or re.search(r"[a-z-]+(\.[a-z-]+)+/?", source)


@pytest.mark.parametrize("name", MACHINES)
def test_the_defaults_of_a_machine_fill_a_node_and_stay_within_its_limits(name: str) -> None:
    known = site(name)
    defaults, limits = known.defaults, known.limits
    gpus, cpus = limits.gpus_per_node, limits.cpus_per_node
    assert gpus is not None
    assert cpus is not None
    assert defaults.gpus_per_node == gpus
    assert defaults.cpus_per_task is not None
    assert cpus // 2 <= defaults.cpus_per_task * (defaults.tasks_per_node or gpus) <= cpus
    assert defaults.time is not None
    assert limits.time is None or walltime.parse(defaults.time) <= walltime.parse(limits.time)


@pytest.mark.parametrize("name", MACHINES)
def test_a_machine_starts_a_job_on_two_nodes_without_a_warning(name: str) -> None:
    made = on_two_nodes(name)
    assert made.warnings == ()
    assert script(made)


@pytest.mark.parametrize("name", MACHINES)
def test_a_machine_names_its_fabric(name: str) -> None:
    assert site(name).fabric.preset in names("fabric")


@pytest.mark.parametrize(
    ("name", "settings", "complaint"),
    [
        ("lumi", ["resources.nodes=1025", "train.global_batch=24600"], "at most 1024 nodes a job"),
        ("lumi", ["resources.time=2-00:00:01"], "a job may take at most 2-00:00:00"),
        ("lumi", ["resources.cpus_per_task=8"], "at most 56 CPU cores a node"),
        ("alps", ["resources.gpus_per_node=5", "train.global_batch=30"], "at most 4 GPUs a node"),
        ("eiger", ["resources.gpus_per_node=1"], "at most 0 GPUs a node"),
        ("leonardo", ["resources.time=24:00:01"], "a job may take at most 24:00:00"),
        ("juwels-booster", ["resources.nodes=257", "train.global_batch=3084"], "at most 256 nodes a job"),
    ],
)
def test_what_a_machine_would_let_pend_for_ever_is_refused(name: str, settings: list[str], complaint: str) -> None:
    with pytest.raises(PreflightError, match=re.escape(complaint)):
        on_two_nodes(name, *settings)


def needing(*keys: str, **resources: object) -> Plan:
    job = load_job("squad-demo").value
    return plan(job, with_(SLURM, needs=keys, defaults=Resources(time="10", **resources)), None, HERE)


def test_a_site_that_wants_an_account_says_so_before_the_scheduler_does() -> None:
    lacking = needing("account", "partition")
    with pytest.raises(PreflightError) as error:
        refuse_problems(lacking.problems, lacking.site)
    assert str(error.value) == (
        "site slurm: jobs must say their account here: -A ACCOUNT, or resources.account; "
        "jobs must say their partition here: -p PARTITION, or resources.partition"
    )


def test_an_empty_account_is_none() -> None:
    """What ``-A "$ACCOUNT"`` says where there is no such variable."""
    empty = needing("account", account="")
    with pytest.raises(PreflightError, match="must say their account"):
        refuse_problems(empty.problems, empty.site)


@pytest.mark.parametrize(
    "said",
    [{"account": "g33"}, {"sbatch": ("--account=g33",)}, {"sbatch": ("--account", "g33")}, {"sbatch": ("-Ag33",)}],
)
def test_an_account_may_be_said_in_any_way_that_sbatch_takes(said: dict[str, object]) -> None:
    enough = needing("account", **said)
    assert enough.problems == ()


def test_submit_refuses_a_job_without_account_and_script_reports_it(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("name: s\nneeds: [account]\ndefaults: {time: 10, gpus_per_node: 1}\n")
    arguments = ["squad-demo", "--site", str(tmp_path / "s.yaml"), "--run-dir", str(tmp_path / "run")]
    refused = CliRunner().invoke(cli, ["submit", *arguments, "--dry-run"])
    line = "jobs must say their account here: -A ACCOUNT, or resources.account"
    assert isinstance(refused.exception, PreflightError)
    assert str(refused.exception) == f"site s: {line}"
    shown = CliRunner().invoke(cli, ["script", *arguments])
    assert shown.exit_code == 0
    assert shown.stderr == f"error: {line}\n"
    assert shown.stdout.startswith("#!/usr/bin/env bash\n")
    assert CliRunner().invoke(cli, ["script", *arguments, "-A", "g33"]).stderr == ""


def test_ranks_meet_by_the_name_that_a_node_has_on_the_fabric() -> None:
    assert "\nMASTER_ADDR+=i " in script(on_two_nodes("juwels-booster"))
    assert "MASTER_ADDR+=" not in made(SLURM)


def test_an_interface_that_is_not_there_ends_the_script_before_any_launcher_starts() -> None:
    text = made(with_(SLURM, fabric=Fabric(interface="hsn0")))
    check = text.index("[ -e /sys/class/net/hsn0 ] || {")
    assert check < text.index("\nmkdir") < text.index("\nsrun ")


@pytest.mark.parametrize("name", SITES)
def test_sites_shows_a_site_with_the_variables_of_its_fabric(name: str) -> None:
    shown = CliRunner().invoke(cli, ["sites", name])
    assert shown.exit_code == 0
    fabric = yaml.safe_load(shown.stdout).get("fabric", {})
    assert fabric.get("fast", False) == (fabric.get("preset") in ("slingshot", "infiniband"))
    of_the_preset = {"slingshot": {"NCCL_CROSS_NIC", "FI_CXI_RX_MATCH_MODE"}, "infiniband": {"NCCL_IB_TIMEOUT"}}
    assert set(fabric.get("env", ())) >= of_the_preset.get(fabric.get("preset"), set())
