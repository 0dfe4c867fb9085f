"""Doctor on launchers, MPI, engines and images: what would become of a launch."""

import os

import msgspec
import pytest
from cases import DEBIAN, HERE, MPICH, OPEN_MPI_4, TYPED, WHEEL_5, case, holding, one, said
from fakes.commands import Commands

from bertjob.cluster.doctor import job_checks, launch_checks
from bertjob.cluster.doctor.case import Image
from bertjob.cluster.doctor.examine import examine, refuses_root
from bertjob.cluster.host import Programs
from bertjob.cluster.host.programs import HostLauncher
from bertjob.config.job import Image as JobImage
from bertjob.config.job import Library, Resources
from bertjob.config.load import load_job
from bertjob.config.registry.launcher_programs import HYDRA
from bertjob.config.site import Mount, Mpi, Site
from bertjob.launch.plan import plan


@pytest.mark.parametrize(
    ("library", "none", "pmi2", "pmix"),
    [
        (DEBIAN, "aborts", "aborts", None),
        (WHEEL_5, "silent singletons", "silent singletons", "works"),
        (MPICH, "silent singletons", "works", "aborts"),
    ],
    ids=["Debian's Open MPI 4", "the wheel's Open MPI 5", "the wheel's MPICH"],
)
def test_the_failures_of_the_seeds_are_predicted(library, none, pmi2, pmix):
    """The table of notes on launching: what becomes of an MPI program under each kind of srun."""
    outcomes = {"none": none, "pmi2": pmi2, "pmix": pmix}
    for kind, outcome in outcomes.items():
        what = case(mpi=True, image=holding(library), engine="sarus")
        what = msgspec.structs.replace(what, job=msgspec.structs.replace(what.job, srun_mpi=kind))
        (chosen,) = [finding for finding in launch_checks.launchers(what) if finding.check == "launcher"]
        if outcome is not None:
            assert chosen.finding.startswith(f"srun --mpi={kind} {outcome}: ")
            assert chosen.level == ("ok" if outcome == "works" else "fail")
        if chosen.level == "fail":
            assert chosen.remedy.startswith("launcher ")  # one that works


def test_where_no_launcher_fits_the_remedy_is_another_image():
    """PMI-2 does not reach into podman's containers."""
    what = case(mpi=True, image=holding(MPICH))
    (chosen,) = [finding for finding in launch_checks.launchers(what) if finding.check == "launcher"]
    assert (chosen.level, chosen.remedy.partition(":")[0]) == ("fail", "no launcher fits")


AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


@pytest.mark.parametrize(
    ("keys", "variables", "refused"),
    [
        ({}, {}, True),
        ({}, {"OMPI_ALLOW_RUN_AS_ROOT": "1"}, True),
        ({}, AS_ROOT, False),
        ({"scheduler": "none"}, AS_ROOT, True),  # there the job does not inherit them
        ({"scheduler": "none", "env": AS_ROOT}, {}, False),
        ({"setup": tuple(f"export {name}=1" for name in AS_ROOT)}, {}, False),
        ({"mpi": Mpi(args=("--allow-run-as-root",))}, {}, False),
        ({"launcher": "torchrun"}, {}, False),
    ],
)
def test_open_mpi_wants_to_be_told_that_root_is_meant(keys, variables, refused, monkeypatch):
    for name in AS_ROOT:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    smoke = msgspec.structs.replace(load_job("smoke").value, resources=Resources(nodes=1, gpus_per_node=0))
    assert refuses_root(plan(smoke, Site(**{"name": "s", "launcher": "openmpi"} | keys), "/runs/r", HERE)) is refused


def test_root_without_leave_is_yellow():
    finding = one(launch_checks.root, case(launcher="openmpi", root_refused=True))
    assert (finding.level, finding.finding) == (
        "warn",
        "launcher openmpi: Open MPI's mpirun refuses to run as root",
    )
    assert "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: 1" in finding.remedy
    assert list(launch_checks.root(case(launcher="openmpi"))) == []


SPEAKING = msgspec.structs.replace(DEBIAN, pmi=("pmix",))


@pytest.mark.parametrize(
    ("slurm", "remedy"),
    [
        (("none", "pmix"), ": srun --mpi=pmix then works"),
        ((), "; then still site s: launcher auto cannot choose: whether Slurm has pmix is not said"),
    ],
)
def test_what_auto_lacks_is_read_from_the_image(slurm, remedy):
    site = Site(name="s", engine="podman", launcher="auto", mpi=Mpi(slurm=slurm))
    what = case(site, mpi=True, launcher=None, image=holding(SPEAKING), refusal="cannot choose")
    finding = one(job_checks.plan, what)
    assert finding.level == "fail"
    assert finding.remedy.startswith("say image.mpi: {family: openmpi, version: 4.1.4, pmi: [pmix]}" + remedy)
    assert "unknown" not in " ".join(finding.finding for finding in launch_checks.launchers(what))


def test_an_image_of_which_nobody_knows_the_mpi_is_to_be_looked_at():
    unseen = case(mpi=True, launcher="openmpi", image=Image("img:1", error="no such image"))
    (chosen,) = [finding for finding in launch_checks.launchers(unseen) if finding.check == "launcher"]
    assert chosen.level == "warn"
    assert chosen.remedy == "`bertjob image check img:1 --site ./s.yaml` tells: say it as image.mpi"
    without = case(mpi=True, launcher="openmpi", image=holding(Library()))
    (chosen,) = [finding for finding in launch_checks.launchers(without) if finding.check == "launcher"]
    assert chosen.remedy.startswith("an image with an MPI")


def test_doctor_looks_into_the_image_of_the_site_where_no_launcher_can_be_chosen(tmp_path, monkeypatch):
    """The engine here is one that starts nothing; what matters is that it is asked."""
    commands = Commands(tmp_path / "bin")
    commands.make("podman", stderr="Error: no such image\n", code=125)
    monkeypatch.setenv("PATH", f"{commands.folder}:{os.environ['PATH']}")
    site = Site(name="s", engine="podman", launcher="auto", scheduler="none", image=JobImage(ref="img:1"))
    wanted = msgspec.structs.replace(load_job("smoke").value, mpi=True)
    found = examine(wanted, site, tmp_path / "run", TYPED, named=False)
    assert found.refusal.endswith("; `bertjob image check` tells")
    assert found.image is not None
    assert found.image.error.startswith("podman: img:1: there is no such image here")


def test_what_submit_would_refuse_is_red(tmp_path, monkeypatch):
    """The engine is not asked for an image whose overlay is missing: what it would say is only that."""
    monkeypatch.setenv("SCRATCH", str(tmp_path))
    ngc = JobImage(ref="nvcr.io/nvidia/pytorch:25.06-py3")
    site = Site(name="s", engine="sarus", image=ngc, needs=("account",), mounts=(Mount(source="$SCRATCH"),))
    command = "bertjob image overlay --site ./s.yaml"
    job = load_job("smoke").value
    found = list(job_checks.plan(examine(job, site, tmp_path / "run", TYPED, named=False)))
    assert [finding.level for finding in found] == ["ok", "fail", "fail"]
    assert [finding.remedy for finding in found[1:]] == [
        "-A ACCOUNT, or resources.account",
        f"{command} --path '$SCRATCH/bertjob-env'",
    ]
    overlaid = msgspec.structs.replace(site, image=msgspec.structs.replace(ngc, overlay="$SCRATCH/env"), needs=())
    case = examine(job, overlaid, tmp_path / "run", TYPED, named=False)
    assert [finding.level for finding in job_checks.plan(case)] == ["ok"]
    missing = one(job_checks.image, case)
    assert (missing.level, missing.remedy) == ("fail", command)
    assert missing.finding == f"image.overlay: {tmp_path}/env: there is no such environment"


def test_an_mpirun_that_is_not_here_starts_nothing_whatever_the_site_file_says():
    site = Site(name="s", launcher="openmpi", mpi=Mpi(family="openmpi"))
    what = case(site, programs=Programs(), launcher="openmpi")
    assert one(launch_checks.host_launcher, what).level == "fail"
    (chosen,) = [finding for finding in launch_checks.launchers(what) if finding.check == "launcher"]
    assert (chosen.level, chosen.finding) == ("fail", "openmpi not here: Open MPI's mpirun was not found")


def test_debians_open_mpi_under_srun_pmix_works_as_its_components_tell():
    what = case(mpi=True, image=holding(SPEAKING))
    what = msgspec.structs.replace(what, job=msgspec.structs.replace(what.job, srun_mpi="pmix"))
    assert said(launch_checks.launchers, what)["launcher"][1].startswith("srun --mpi=pmix works")


def test_without_a_container_the_hosts_mpi_counts():
    assert launch_checks.facts(case(mpi=True)).program == OPEN_MPI_4.library


@pytest.mark.parametrize(
    ("launcher", "found", "version", "level"),
    [
        ("openmpi", (OPEN_MPI_4,), 4, "ok"),
        ("openmpi", (OPEN_MPI_4,), 5, "fail"),
        ("openmpi", (), 4, "fail"),
        ("hydra", (OPEN_MPI_4,), 4, "fail"),
        ("hydra", (HostLauncher("mpiexec.hydra", HYDRA, "MPICH's or MVAPICH's hydra", "5.0.2"),), 4, "ok"),
        ("srun", (), 4, "ok"),
    ],
)
def test_the_hosts_mpirun_is_the_one_that_the_site_file_means(launcher, found, version, level):
    site = Site(name="s", mpi=Mpi(version=version))
    assert (
        one(launch_checks.host_launcher, case(site, programs=Programs(launchers=found), launcher=launcher)).level
        == level
    )


def test_modules_that_cannot_be_loaded():
    site = Site(name="s", modules=("nope",))
    assert one(launch_checks.modules, case(site, programs=Programs(modules_error="unknown module"))).level == "fail"


def test_an_engine_that_is_not_here_and_what_there_is_instead():
    finding = one(job_checks.engine, case(image=Image("i"), programs=Programs(engines={"sarus": "1.7.0"})))
    assert (finding.level, finding.finding) == ("fail", "podman is not here")
    assert "sarus 1.7.0" in finding.remedy


def test_an_image_is_missing_or_says_what_it_holds():
    assert one(job_checks.image, case(image=Image("i", error="podman: i: there is no such image here"))).level == "fail"
    found = [finding.level for finding in job_checks.image(case(image=holding(DEBIAN)))]
    assert found == ["ok", "fail", "ok", "fail"]  # it lacks torch and all else, and GPUs are asked for
