"""A site file from what Slurm says of itself."""

import msgspec
import pytest
from cases import GROUP, OPEN_MPI_4, SLURM
from click.testing import CliRunner

from bertjob.cli.main import cli
from bertjob.cluster.host import Machine, Places, Programs
from bertjob.cluster.new_site import site_file, site_name
from bertjob.cluster.slurm.facts import NodeGroup
from bertjob.config.job import Resources
from bertjob.config.load import load_site
from bertjob.config.site import Mpi
from bertjob.errors import SpecError


@pytest.mark.parametrize(
    "interfaces",
    [("eth0", "lo"), ("hsn0", "lo"), ("ib0", "lo"), ()],
    ids=["ethernet", "slingshot", "infiniband", "none"],
)
def test_a_site_file_loads_and_says_what_was_found(tmp_path, interfaces):
    gpu = NodeGroup(partition="gpu", time="12:00:00", nodes=8, cpus=64, gpus=4, gpu="a100", features=("a#b",))
    machine = Machine(
        msgspec.structs.replace(SLURM, groups=(msgspec.structs.replace(GROUP, gpus=0), gpu)),
        Programs(launchers=(OPEN_MPI_4,), engines={"podman": "4.3.1"}, modules="8.7"),
        Places(interfaces=interfaces),
    )
    path = tmp_path / "mine.yaml"
    path.write_text(site_file("mine", "mine", machine, "login1", "2026-11-20"))
    made = load_site(str(path)).value
    assert made.defaults == Resources(partition="gpu", time="01:00:00", gpus_per_node=4)
    assert (made.limits.nodes, made.limits.time, made.limits.gpus_per_node) == (8, "1-00:00:00", 4)
    assert made.mpi == Mpi(family="openmpi", version=4, pmi=("pmix",), slurm=SLURM.mpi_types)
    fast = {"hsn0": "slingshot", "ib0": "infiniband"}
    assert made.fabric.preset == next((fast[name] for name in interfaces if name in fast), None)


def test_names_of_clusters_become_names_of_sites():
    assert site_name("my cluster: 1") == "my-cluster--1"
    assert site_name("_") == "cluster"


def test_sites_keeps_its_ways_beside_new():
    runner = CliRunner()
    assert "generic" in runner.invoke(cli, ["sites"]).stdout
    assert runner.invoke(cli, ["sites", "generic"]).stdout.startswith("name: generic")
    assert (
        runner.invoke(cli, ["sites", "--json", "generic"]).stdout
        == runner.invoke(cli, ["sites", "generic", "--json"]).stdout
    )


def test_without_slurm_a_new_site_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    result = CliRunner().invoke(cli, ["sites", "new"])
    assert "there is no command sinfo or scontrol here" in str(result.exception)


@pytest.mark.parametrize("name", ["../evil", "a b", "$(id)", "", "-x", "a/b"])
def test_a_new_site_has_a_name_that_a_site_may_have(name, tmp_path, monkeypatch):
    """Checked before Slurm is asked, and so on any machine."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    result = CliRunner().invoke(cli, ["sites", "new", "--", name])
    assert isinstance(result.exception, SpecError)
    assert str(result.exception).startswith("NAME: text of letters, digits, ")
    assert list(tmp_path.iterdir()) == []
