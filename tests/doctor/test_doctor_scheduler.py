"""Doctor on Slurm: its traps, limits, clock, accounts and leftovers."""

import msgspec
import pytest
from cases import SLURM, case, one

from bertjob.cluster.doctor import findings
from bertjob.cluster.host import Places
from bertjob.cluster.scheduler_answers import SchedulerFacts
from bertjob.cluster.slurm import slurm_checks
from bertjob.cluster.slurm.facts import unloadable
from bertjob.cluster.slurm.slurm_checks import traps
from bertjob.config.site import Mpi, Site


def test_each_release_of_slurm_has_its_traps():
    assert {trap.what.partition(" ")[0] for trap in traps((22, 5))} == {"a", "takes", "srun"}
    assert any("--cpus-per-task" in trap.what for trap in traps((23, 11)))
    assert not any("--cpus-per-task" in trap.what for trap in traps((21, 8)))
    assert not any("log" in trap.what for trap in traps((23, 2)))


def test_a_controller_that_is_away_is_red_and_nothing_else_is_said_of_slurm():
    away = SchedulerFacts(installed=True, error="slurmctld(primary) at ctl is DOWN", version="22.05.8")
    found = findings(case(slurm=away))["scheduler"]
    assert [finding.check for finding in found if finding.level == "fail"] == ["Slurm"]
    assert {finding.check for finding in found} == {"Slurm", "trap", "environment"}


@pytest.mark.parametrize(
    ("resources", "complaint"),
    [
        ({"nodes": 5}, "5 nodes are asked for, a job may have 4"),
        ({"gpus_per_node": 2}, "2 GPUs per node are asked for, there are 1"),
        ({"cpus_per_task": 13}, "13 CPUs per node are asked for, there are 12"),
        ({"time": "2-0"}, "2-0 is asked for, the limit is 1-00:00:00"),
        ({"partition": "norml"}, "there is no partition norml"),
    ],
)
def test_what_would_wait_for_ever_is_red(resources, complaint):
    finding = one(slurm_checks.partition, case(resources=resources))
    assert finding.level == "fail"
    assert complaint in finding.finding


def test_gpus_are_asked_for_in_words_that_slurm_knows():
    old = msgspec.structs.replace(SLURM, settings={"SelectType": "select/cons_res"})
    assert one(slurm_checks.gpu_option, case(slurm=old)).level == "fail"
    assert list(slurm_checks.gpu_option(case(Site(name="s", gpu_option="gres"), slurm=old))) == []


@pytest.mark.parametrize(("ahead", "level"), [(0.0, "ok"), (-30.0, "warn"), (290.0, "fail"), (None, None)])
def test_clocks_that_differ(ahead, level):
    found = list(slurm_checks.clock(case(slurm=msgspec.structs.replace(SLURM, clock=ahead))))
    assert [finding.level for finding in found] == ([level] if level else [])


def test_accounts_that_slurm_does_not_keep_or_wants_to_know():
    none = msgspec.structs.replace(SLURM, settings={"AccountingStorageType": "accounting_storage/none"})
    assert one(slurm_checks.accounting, case(slurm=none)).level == "warn"
    strict = msgspec.structs.replace(
        SLURM, settings=SLURM.settings | {"AccountingStorageEnforce": "associations,limits"}
    )
    assert one(slurm_checks.accounting, case(slurm=strict)).level == "warn"
    assert one(slurm_checks.accounting, case(slurm=strict, resources={"account": "g33"})).level == "ok"


def test_types_of_the_site_file_that_srun_does_not_offer():
    finding = one(slurm_checks.pmi_types, case(Site(name="s", mpi=Mpi(slurm=("none", "pmi1")))))
    assert (finding.level, "pmi1" in finding.finding) == ("warn", True)


def test_leftovers_of_another_job():
    places = Places(leftovers={"SLURM_JOB_ID": "1"})
    assert "inside of a job" in one(slurm_checks.leftovers, case(places=places)).finding


@pytest.mark.parametrize(
    ("variables", "level", "words"),
    [
        ({"SBATCH_WAIT": ""}, "fail", "SBATCH_WAIT is set in this shell"),
        ({"SBATCH_WAIT": "1"}, "fail", "SBATCH_WAIT is set in this shell"),
        ({"SBATCH_PARTITION": "debug"}, "warn", "SBATCH_PARTITION=debug: submit takes them as your defaults"),
        ({"SLURM_CLUSTERS": "other"}, "warn", "SLURM_CLUSTERS=other: submit takes them as your defaults"),
        ({"SBATCH_ARRAY_INX": "1-9"}, "warn", "SBATCH_ARRAY_INX=1-9 of this shell is left out: submit once for each"),
        ({"SBATCH_TEST_ONLY": "1"}, "warn", "SBATCH_TEST_ONLY=1 of this shell is left out: bertjob does not know it"),
        ({"SLURM_MEM_PER_CPU": "50"}, "warn", "left out, as the job has its own: SLURM_MEM_PER_CPU of this shell"),
        ({"SQUEUE_FORMAT": "%i"}, "warn", "SQUEUE_FORMAT: Slurm's commands by hand would obey"),
    ],
)
def test_each_variable_that_changes_what_sbatch_does_is_named(variables, level, words):
    finding = one(slurm_checks.leftovers, case(places=Places(leftovers=variables)))
    assert finding.level == level
    assert finding.finding.startswith(words)


def test_the_partition_is_looked_for_on_the_cluster_that_is_named():
    there = msgspec.structs.replace(SLURM.groups[0], cluster="other", cpus=2)
    found = case(slurm=msgspec.structs.replace(SLURM, groups=(there,)), resources={"sbatch": ("--clusters=other",)})
    assert one(slurm_checks.partition, found).finding.startswith("normal of cluster other: 4 CPUs per node are asked")


def test_a_type_of_mpi_that_is_listed_and_does_not_load_is_named(tmp_path, monkeypatch):
    commands = tmp_path / "bin"
    commands.mkdir()
    refusal = "srun: error: mpi/pmix_v4: can not load PMIx library"
    (commands / "srun").write_text(f'#!/bin/sh\n[ "$1" != --mpi=pmix ] || {{ echo "{refusal}" >&2; exit 1; }}\n')
    (commands / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:/usr/bin:/bin")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert unloadable(["none", "pmix"]) == {}  # a step would have to wait in the queue
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    broken = unloadable(["none", "pmix"])
    assert list(broken) == ["pmix"]
    seen = msgspec.structs.replace(SLURM, mpi_types=("none",), mpi_broken=broken)
    found = list(slurm_checks.pmi_types(case(slurm=seen)))
    assert next((finding.level, "can not load PMIx library" in finding.finding) for finding in found) == ("warn", True)
