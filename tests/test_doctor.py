"""Doctor's checks: facts in, findings out; what was proved; the site file."""

import os
import re

import msgspec
import pytest
from click.testing import CliRunner
from fakes.commands import Commands

from bertjob.cli.findings import proof_view, report
from bertjob.cli.launch_words import launch_words
from bertjob.cli.main import cli
from bertjob.cli.options import Request
from bertjob.cluster import proofs
from bertjob.cluster.doctor import SECTIONS, advice, findings, job, launching, prove, scheduler, surroundings
from bertjob.cluster.doctor.case import Case, Image
from bertjob.cluster.doctor.examine import examine, refuses_root
from bertjob.cluster.doctor.traps import traps
from bertjob.cluster.doctor.typed import Typed
from bertjob.cluster.probe import Machine, Places, Programs, Scheduler
from bertjob.cluster.probe.places import Place
from bertjob.cluster.probe.programs import HostMpi
from bertjob.cluster.probe.scheduler import NodeGroup
from bertjob.cluster.proofs import BadNode, Book, Combination, Proved
from bertjob.cluster.site_file import site_file, site_name
from bertjob.errors import SpecError
from bertjob.launch import ports
from bertjob.launch.plan import Here, plan
from bertjob.launch.script import script
from bertjob.spec.image import ImageFacts
from bertjob.spec.job import Image as JobImage
from bertjob.spec.job import Job, Library, Resources
from bertjob.spec.layout import RunDir
from bertjob.spec.load import load_job, load_site
from bertjob.spec.proof import AllReduce, Proof, Rank
from bertjob.spec.site import Fabric, Mpi, Site

HERE = Here(python="/venv/bin/python", cwd="/home/me")
GROUP = NodeGroup(partition="normal", default=True, time="1-00:00:00", nodes=4, idle=3, cpus=12, gpus=1)
SLURM = Scheduler(
    installed=True,
    version="22.05.8",
    settings={
        "ClusterName": "c",
        "AccountingStorageType": "accounting_storage/slurmdbd",
        "SelectType": "select/cons_tres",
    },
    groups=(GROUP,),
    mpi_types=("none", "pmi2", "pmix", "pmix_v4"),
    clock=0.0,
)
OPEN_MPI_4 = HostMpi("mpirun", "openmpi", "4.1.4", ("ext3x", "flux", "isolated"))
DEBIAN = Library(family="openmpi", version="4.1.4")
WHEEL_5 = Library(family="openmpi", version="5.0.11")
MPICH = Library(family="mpich", version="5.0.2")
GB = 10**9
TYPED = Typed("./s.yaml", options=("--set", "mpi=true"))


def case(
    site=None,
    slurm=SLURM,
    programs=None,
    places=None,
    *,
    mpi=False,
    launcher="srun",
    image=None,
    engine="podman",
    resources=None,
    **more,
):
    asked = Resources(nodes=2, tasks_per_node=1, gpus_per_node=1, cpus_per_task=4, time="10")
    whole = Job(
        name="j",
        task="smoke",
        engine="none" if image is None else engine,
        launcher=launcher,
        mpi=mpi,
        image=JobImage(ref=None if image is None else image.ref),
        resources=msgspec.structs.replace(asked, **(resources or {})),
    )
    machine = Machine(slurm, programs or Programs(mpi=(OPEN_MPI_4,)), places or Places())
    return Case(job=whole, site=site or Site(name="s"), machine=machine, typed=TYPED, image=image, **more)


def holding(library):
    """An image with an MPI library."""
    return Image("img:1", facts=ImageFacts(python="3.12.3", mpi=library))


def said(check, what):
    return {finding.check: (finding.level, finding.finding) for finding in check(what)}


def one(check, what):
    (finding,) = check(what)
    return finding


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
        (chosen,) = [finding for finding in launching.launchers(what) if finding.check == "launcher"]
        if outcome is not None:
            assert chosen.finding.startswith(f"srun --mpi={kind} {outcome}: ")
            assert chosen.level == ("ok" if outcome == "works" else "fail")
        if chosen.level == "fail":
            assert chosen.remedy.startswith("launcher ")  # one that works


def test_where_no_launcher_fits_the_remedy_is_another_image():
    """PMI-2 does not reach into podman's containers."""
    what = case(mpi=True, image=holding(MPICH))
    (chosen,) = [finding for finding in launching.launchers(what) if finding.check == "launcher"]
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
    finding = one(launching.root, case(launcher="openmpi", root_refused=True))
    assert (finding.level, finding.finding) == (
        "warn",
        "launcher openmpi: Open MPI's mpirun refuses to run as root",
    )
    assert "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: 1" in finding.remedy
    assert list(launching.root(case(launcher="openmpi"))) == []


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
    finding = one(job.plan, what)
    assert finding.level == "fail"
    assert finding.remedy.startswith("say image.mpi: {family: openmpi, version: 4.1.4, pmi: [pmix]}" + remedy)
    assert "unknown" not in " ".join(finding.finding for finding in launching.launchers(what))


def test_an_image_of_which_nobody_knows_the_mpi_is_to_be_looked_at():
    unseen = case(mpi=True, launcher="openmpi", image=Image("img:1", error="no such image"))
    (chosen,) = [finding for finding in launching.launchers(unseen) if finding.check == "launcher"]
    assert chosen.level == "warn"
    assert chosen.remedy == "`bertjob image check img:1 --site ./s.yaml` tells: say it as image.mpi"
    without = case(mpi=True, launcher="openmpi", image=holding(Library()))
    (chosen,) = [finding for finding in launching.launchers(without) if finding.check == "launcher"]
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


def test_an_mpirun_that_is_not_here_starts_nothing_whatever_the_site_file_says():
    site = Site(name="s", launcher="openmpi", mpi=Mpi(family="openmpi"))
    what = case(site, programs=Programs(), launcher="openmpi")
    assert one(launching.host_mpi, what).level == "fail"
    (chosen,) = [finding for finding in launching.launchers(what) if finding.check == "launcher"]
    assert (chosen.level, chosen.finding) == ("fail", "openmpi not here: Open MPI's mpirun was not found")


def test_debians_open_mpi_under_srun_pmix_works_as_its_components_tell():
    what = case(mpi=True, image=holding(SPEAKING))
    what = msgspec.structs.replace(what, job=msgspec.structs.replace(what.job, srun_mpi="pmix"))
    assert said(launching.launchers, what)["launcher"][1].startswith("srun --mpi=pmix works")


def test_without_a_container_the_hosts_mpi_counts():
    assert launching.facts(case(mpi=True)).program == OPEN_MPI_4.library


def test_each_release_of_slurm_has_its_traps():
    assert {trap.what.partition(" ")[0] for trap in traps((22, 5))} == {"a", "takes", "srun"}
    assert any("--cpus-per-task" in trap.what for trap in traps((23, 11)))
    assert not any("--cpus-per-task" in trap.what for trap in traps((21, 8)))
    assert not any("log" in trap.what for trap in traps((23, 2)))


def test_a_controller_that_is_away_is_red_and_nothing_else_is_said_of_slurm():
    away = Scheduler(installed=True, error="slurmctld(primary) at ctl is DOWN", version="22.05.8")
    found = findings(case(slurm=away))["scheduler"]
    assert [finding.check for finding in found if finding.level == "fail"] == ["Slurm"]
    assert {finding.check for finding in found} == {"Slurm", "trap", "environment"}


@pytest.mark.parametrize(
    ("resources", "complaint"),
    [
        ({"nodes": 5}, "5 nodes are asked for, a job may have 4"),
        ({"gpus_per_node": 2}, "2 GPUs a node are asked for, there are 1"),
        ({"cpus_per_task": 13}, "13 CPUs a node are asked for, there are 12"),
        ({"time": "2-0"}, "2-0 is asked for, the limit is 1-00:00:00"),
        ({"partition": "norml"}, "there is no partition norml"),
    ],
)
def test_what_would_wait_for_ever_is_red(resources, complaint):
    finding = one(scheduler.partition, case(resources=resources))
    assert finding.level == "fail"
    assert complaint in finding.finding


def test_gpus_are_asked_for_in_words_that_slurm_knows():
    old = msgspec.structs.replace(SLURM, settings={"SelectType": "select/cons_res"})
    assert one(scheduler.gpu_option, case(slurm=old)).level == "fail"
    assert list(scheduler.gpu_option(case(Site(name="s", gpu_option="gres"), slurm=old))) == []


@pytest.mark.parametrize(("ahead", "level"), [(0.0, "ok"), (-30.0, "warn"), (290.0, "fail"), (None, None)])
def test_clocks_that_differ(ahead, level):
    found = list(scheduler.clock(case(slurm=msgspec.structs.replace(SLURM, clock=ahead))))
    assert [finding.level for finding in found] == ([level] if level else [])


def test_accounts_that_slurm_does_not_keep_or_wants_to_know():
    none = msgspec.structs.replace(SLURM, settings={"AccountingStorageType": "accounting_storage/none"})
    assert one(scheduler.accounting, case(slurm=none)).level == "warn"
    strict = msgspec.structs.replace(
        SLURM, settings=SLURM.settings | {"AccountingStorageEnforce": "associations,limits"}
    )
    assert one(scheduler.accounting, case(slurm=strict)).level == "warn"
    assert one(scheduler.accounting, case(slurm=strict, resources={"account": "g33"})).level == "ok"


def test_types_of_the_site_file_that_srun_does_not_offer():
    finding = one(scheduler.pmi_types, case(Site(name="s", mpi=Mpi(slurm=("none", "pmi1")))))
    assert (finding.level, "pmi1" in finding.finding) == ("warn", True)


def test_leftovers_of_another_job():
    places = Places(leftovers={"SBATCH_ACCOUNT": "x", "SLURM_JOB_ID": "1"})
    assert "inside of a job" in one(scheduler.leftovers, case(places=places)).finding


@pytest.mark.parametrize(
    ("launcher", "found", "version", "level"),
    [
        ("openmpi", (OPEN_MPI_4,), 4, "ok"),
        ("openmpi", (OPEN_MPI_4,), 5, "fail"),
        ("openmpi", (), 4, "fail"),
        ("hydra", (OPEN_MPI_4,), 4, "fail"),
        ("hydra", (HostMpi("mpiexec.hydra", "hydra", "5.0.2"),), 4, "ok"),
        ("srun", (), 4, "ok"),
    ],
)
def test_the_hosts_mpirun_is_the_one_that_the_site_file_means(launcher, found, version, level):
    site = Site(name="s", mpi=Mpi(version=version))
    assert one(launching.host_mpi, case(site, programs=Programs(mpi=found), launcher=launcher)).level == level


def test_modules_that_cannot_be_loaded():
    site = Site(name="s", modules=("nope",))
    assert one(launching.modules, case(site, programs=Programs(modules_error="unknown module"))).level == "fail"


def test_an_engine_that_is_not_here_and_what_there_is_instead():
    finding = one(job.engine, case(image=Image("i"), programs=Programs(engines={"sarus": "1.7.0"})))
    assert (finding.level, finding.finding) == ("fail", "podman is not here")
    assert "sarus 1.7.0" in finding.remedy


def test_an_image_is_missing_or_says_what_it_holds():
    assert one(job.image, case(image=Image("i", error="podman: i: there is no such image here"))).level == "fail"
    found = [finding.level for finding in job.image(case(image=holding(DEBIAN)))]
    assert found == ["ok", "fail", "ok", "fail"]  # it lacks torch and all else, and GPUs are asked for


def place(**keys):
    return Place(**{"path": "/x", "kind": "lustre", "size": 10**13, "free": 10**12} | keys)


@pytest.mark.parametrize(
    ("found", "level"),
    [
        (place(), "ok"),
        (place(free=GB), "fail"),
        (place(free=10 * GB), "warn"),
        (place(used=99 * GB, quota=100 * GB), "fail"),
        (place(writable=False), "fail"),
        (place(free_files=3), "fail"),
        (place(kind="ext4"), "warn"),
        (place(error="no answer within 5 s"), "fail"),
    ],
)
def test_space_of_the_run_directory(found, level):
    places = Places(folders={"run directory": found})
    assert one(surroundings.folders, case(places=places)).level == level


def test_a_file_system_is_told_once():
    places = Places(folders={"run directory": place(), "home": place(path="/y")})
    assert len(list(surroundings.folders(case(places=places)))) == 1


def test_caches_on_a_shared_home():
    homes = surroundings.cache_folders({"TRITON_CACHE_DIR": "/tmp/t"}, "/home/me")
    assert homes["TRITON_CACHE_DIR"] == "/tmp/t"
    assert homes["TORCH_EXTENSIONS_DIR"] == "/home/me/.cache/torch_extensions"
    shared = Places(folders={"TRITON_CACHE_DIR": place(kind="nfs4"), "HF_HOME": place(kind="ext4")})
    finding = one(surroundings.caches, case(places=shared))
    assert (finding.level, finding.finding.partition(":")[0]) == ("warn", "TRITON_CACHE_DIR")


def test_ports_of_outgoing_connections():
    assert one(surroundings.ports, case(places=Places(ephemeral=(32768, 60999)))).level == "ok"
    assert one(surroundings.ports, case(places=Places(ephemeral=(10000, 60999)))).level == "warn"
    assert f"$(({surroundings._FIRST_PORT} + " in ports.choice("0")


def test_an_interface_that_does_not_exist():
    there = Places(interfaces=("eth0", "hsn0", "lo"))
    for wanted, level in (("hsn0", "ok"), ("hsn", "ok"), ("ib0", "warn")):
        site = Site(name="s", fabric=Fabric(interface=wanted))
        assert one(surroundings.interface, case(site, places=there)).level == level
    here = Site(name="l", scheduler="none", launcher="local", fabric=Fabric(interface="ib0"))
    assert one(surroundings.interface, case(here, places=there)).level == "fail"


def test_gpus_of_this_machine():
    here = Site(name="l", scheduler="none", launcher="local")
    assert one(surroundings.gpus, case(here)).level == "fail"
    assert one(surroundings.gpus, case(here, programs=Programs(gpus=("NVIDIA H200",)))).level == "ok"


def test_files_of_the_job():
    found = said(job.files, case(problems={"data.train": "/x: there is no such file", "packages": "torch is missing"}))
    assert {level for level, _ in found.values()} == {"fail"}


def test_remedies_say_site_and_launch_as_they_were_given():
    remedies = [finding.remedy for finding in job.proof(case(bad_nodes=(bad("n1"),)))]
    assert remedies == [
        "`bertjob doctor --prove --nodes 2 --site ./s.yaml --set mpi=true`",
        "repaired: `bertjob doctor --forget --site ./s.yaml`",
    ]
    here = Site(name="l", scheduler="none", launcher="local")
    assert one(job.proof, case(here)).remedy == "`bertjob doctor --prove --site ./s.yaml --set mpi=true`"
    assert advice.said_of([bad("n 1")], Typed("a b.yaml")).endswith("bertjob doctor --forget --site 'a b.yaml'")


def test_of_a_command_line_a_proof_needs_what_changes_the_launch(tmp_path):
    settings = ("train.epochs=1", "mpi=true", "image.ref=x y", "resources.partition=p", "resources.nodes=4")
    options = {"resources.account": ("--account", "g33"), "resources.nodes": ("--nodes", 8)}
    asked = Request("squad", "./pm.yaml", settings, options, None, ())
    assert launch_words(asked).to_prove(slurm=True) == (
        "bertjob doctor --prove --nodes 2 --site ./pm.yaml --set mpi=true --set 'image.ref=x y'"
        " --set resources.partition=p --account g33"
    )
    own = tmp_path / "mine.yaml"
    own.write_text("base: squad\nlauncher: openmpi\n")
    assert launch_words(msgspec.structs.replace(asked, job=str(own))).job == str(own)


# What was proved.

ABOUT = Combination("s", "22.05.8", "podman", "sha256:1", "srun")
PROOF = Proof(
    time=1e9,
    job_id="1",
    launcher="srun",
    engine="podman",
    ranks=(Rank(rank=0, host="n1", device="cpu"), Rank(rank=1, host="n2", device="cpu")),
    transport="gloo over eth0",
    all_reduces=(
        AllReduce(bytes=1024, seconds=1e-3, bandwidth=1e6),
        AllReduce(bytes=1 << 30, seconds=0.5, bandwidth=2e9),
    ),
    warnings=("the clock of n2 is +2.0 s off rank 0's",),
)
PROVED = Proved(combination=ABOUT, proof=PROOF, run_dir="/r")


def bad(name, engine="podman", time=1e9):
    return BadNode(name=name, site="s", engine=engine, reason="no image", time=time)


def test_a_proof_is_kept_for_its_combination_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert proofs.read() == Book()
    proofs.change(lambda book: book.with_proof(PROVED).with_proof(PROVED))
    book = proofs.read()
    assert book.proofs == (PROVED,)
    assert book.proof(ABOUT) == PROVED
    for key in ("site", "slurm", "engine", "image", "launcher"):
        assert book.proof(msgspec.structs.replace(ABOUT, **{key: "other"})) is None


def test_bad_nodes_are_forgotten_after_a_week_by_hand_or_when_they_work(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    proofs.change(lambda book: book.with_bad([bad("n1"), bad("n2"), bad("n3", engine="sarus"), bad("n1")]))
    names = [node.name for node in proofs.read(now=1e9).bad("s", "podman")]
    assert names == ["n1", "n2"]
    assert proofs.read(now=1e9 + 8 * 86400).bad_nodes == ()
    book = proofs.read(now=1e9)
    assert book.with_proof(PROVED).bad_nodes == (bad("n3", engine="sarus"),)
    assert book.without_bad("s").bad_nodes == ()


def test_a_broken_book_is_an_empty_one(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "bertjob").mkdir()
    (tmp_path / "bertjob" / "proofs.json").write_text('{"proofs": 3')
    assert proofs.read() == Book()


def test_nodes_are_left_out_beside_those_that_the_user_leaves_out():
    assert advice.excluding([], []) == ()
    assert advice.excluding([], [bad("n1"), bad("n2")]) == ("--exclude=n1,n2",)
    assert advice.excluding(["--mail-type=END", "--exclude=n[7-8]"], [bad("n1")]) == ("--exclude=n[7-8],n1",)
    assert advice.excluding(["-xn1"], [bad("n1")]) == ("--exclude=n1",)


def test_nodes_that_did_not_start_are_told_with_their_last_words(tmp_path):
    run = RunDir(tmp_path)
    run.logs.mkdir()
    (run.logs / "start.nodes").write_text("n1\nn2\nn3\n")
    (run.logs / "start.0.out").write_text("started\n")
    missing = "slurmstepd-n2: error: execve(): podman: No such file or directory"
    (run.logs / "start.1.out").write_text(f"{missing}\nsrun: error: n2: task 1: Exited with exit code 2\n")
    found = prove.verdict(run)
    assert found.bad == {"n2": "execve(): podman: No such file or directory", "n3": "it did not start anything"}
    assert found.proof is None
    book = prove.noted(Book((PROVED,)), found, ABOUT, run)
    assert [node.name for node in book.bad("s", "podman")] == ["n2", "n3"]
    assert book.proofs == (PROVED,)


def test_when_no_node_can_start_it_is_not_the_nodes(tmp_path):
    run = RunDir(tmp_path)
    run.logs.mkdir()
    (run.logs / "start.nodes").write_text("n1\nn2\n")
    for number in range(2):
        (run.logs / f"start.{number}.out").write_text("Error: no such image\n")
    found = prove.verdict(run)
    assert (found.bad, found.error) == ({}, "no node can start the program: Error: no such image")
    assert prove.noted(Book(), found, ABOUT, run) == Book()


def test_a_launch_that_fails_takes_its_proof_back(tmp_path):
    run = RunDir(tmp_path)
    run.logs.mkdir()
    (run.logs / "7.out").write_text("starting\nrank 1 cannot reach n1\n")
    found = prove.verdict(run)
    assert (found.proof, found.bad, found.error) == (None, {}, "rank 1 cannot reach n1")
    assert prove.noted(Book((PROVED,)), found, ABOUT, run) == Book()


@pytest.mark.parametrize("engine", ["none", "podman", "pyxis", "edf"])
def test_the_script_of_a_proof_starts_the_program_on_every_node_first(engine):
    site = Site(name="s", engine=engine, image=JobImage(ref="registry/img:1"), mounts=())
    wanted = msgspec.structs.replace(load_job("smoke").value, resources=Resources(nodes=2, tasks_per_node=4))
    text = script(prove.proving(wanted, site, "/scratch/me/runs/p", HERE))
    step = text[text.index("logs/start.nodes") : text.index("|| exit 1")]
    assert "--ntasks-per-node=1" in step
    assert "--output=logs/start.%n.out" in step
    assert step.rstrip().endswith("""-c 'print('"'"'started'"'"')'""")
    assert text.index("|| exit 1") < text.index("bertjob.train")


def test_the_smoke_job_takes_the_place_of_another_one():
    other = load_job("squad", ["engine=podman", "image.ref=x", "launcher=openmpi", "resources.partition=gpu"]).value
    made = prove.smoke(other, load_job("smoke").value)
    assert (made.task, made.engine, made.launcher, made.resources.partition) == ("smoke", "podman", "openmpi", "gpu")
    assert made.resources.time == "5"


def test_an_interrupt_takes_the_proof_out_of_the_queue(tmp_path, monkeypatch):
    """All but the moment of the interrupt is the real way to a proof, with Slurm's commands faked."""
    commands = Commands(tmp_path / "bin")
    commands.make("sbatch", "Submitted batch job 4711\n")
    for name in ("srun", "squeue", "sacct", "scancel", "scontrol", "sinfo"):
        commands.make(name)
    monkeypatch.setenv("PATH", f"{commands.folder}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)

    def interrupted(*_):
        assert not commands.calls("scancel")
        raise KeyboardInterrupt

    monkeypatch.setattr("bertjob.cluster.wait.wait", interrupted)
    result = CliRunner().invoke(cli, ["doctor", "--prove", "--site", "generic", "--run-dir", str(tmp_path / "p")])
    assert result.exit_code != 0
    assert commands.calls("scancel") == [["4711"]]
    assert "job 4711 is cancelled" in result.stderr


# What is shown and written.


def test_reports_read_without_colour(capsys):
    from rich.console import Console

    console = Console(width=100, no_color=True, force_terminal=False)
    console.print(report("j at s", findings(case(places=Places(folders={"run directory": place(free=GB)})))))
    console.print(proof_view(PROOF, str(ABOUT)))
    shown = capsys.readouterr().out
    assert re.search(r"^✗ run directory  /x: 1\.0 GB free", shown, flags=re.MULTILINE)
    assert re.search(r"^✓ Slurm ", shown, flags=re.MULTILINE)
    assert "2.000 GB/s" in shown
    assert "! the clock of n2" in shown
    assert max(map(len, shown.splitlines())) <= 100


def test_every_check_is_called_for_a_case_of_which_nothing_is_known():
    bare = Case(job=Job(name="j", task="smoke"), site=Site(name="s"), machine=Machine(), typed=TYPED, refusal="no plan")
    found = findings(bare)
    assert found.keys() == SECTIONS.keys()
    assert "scheduler" not in findings(msgspec.structs.replace(bare, site=Site(name="l", scheduler="none")))


@pytest.mark.parametrize(
    "interfaces",
    [("eth0", "lo"), ("hsn0", "lo"), ("ib0", "lo"), ()],
    ids=["ethernet", "slingshot", "infiniband", "none"],
)
def test_a_site_file_loads_and_says_what_was_found(tmp_path, interfaces):
    gpu = NodeGroup(partition="gpu", time="12:00:00", nodes=8, cpus=64, gpus=4, gpu="a100", features=("a#b",))
    machine = Machine(
        msgspec.structs.replace(SLURM, groups=(msgspec.structs.replace(GROUP, gpus=0), gpu)),
        Programs(mpi=(OPEN_MPI_4,), engines={"podman": "4.3.1"}, modules="8.7"),
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
