"""Launch proofs: what is kept, which nodes are left out, and what a proof's script does."""

import os

import msgspec
import pytest
from cases import ABOUT, HERE, PROOF, case, one
from click.testing import CliRunner
from fakes.commands import Commands

from bertjob.cli.launch_proof import launch_words
from bertjob.cli.main import cli
from bertjob.cli.options import Request
from bertjob.cluster.doctor import advice, job_checks, proofs, prove
from bertjob.cluster.doctor.case import Typed
from bertjob.cluster.doctor.proofs import BadNode, Book, Proved
from bertjob.config.job import Image as JobImage
from bertjob.config.job import Resources
from bertjob.config.load import load_job
from bertjob.config.site import Site
from bertjob.launch.plan import plan
from bertjob.launch.schedulers import SCHEDULERS
from bertjob.launch.script import script
from bertjob.rundir.directory import RunDir


def test_remedies_say_site_and_launch_as_they_were_given():
    remedies = [finding.remedy for finding in job_checks.proof(case(bad_nodes=(bad("n1"),)))]
    assert remedies == [
        "`bertjob doctor --prove --nodes 2 --site ./s.yaml --set mpi=true`",
        "repaired: `bertjob doctor --forget --site ./s.yaml`",
    ]
    here = Site(name="l", scheduler="none", launcher="local")
    assert one(job_checks.proof, case(here)).remedy == "`bertjob doctor --prove --site ./s.yaml --set mpi=true`"
    assert advice.said_of([bad("n 1")], Typed("a b.yaml")).endswith("bertjob doctor --forget --site 'a b.yaml'")


def test_of_a_command_line_a_proof_needs_what_changes_the_launch(tmp_path):
    settings = ("train.epochs=1", "mpi=true", "image.ref=x y", "resources.partition=p", "resources.nodes=4")
    options = {"resources.account": ("--account", "g33"), "resources.nodes": ("--nodes", 8)}
    site = tmp_path / "pm.yaml"
    site.write_text("name: pm\n")
    asked = Request("squad", str(site), settings, options, None, ())
    assert launch_words(asked.load()).to_prove(SCHEDULERS["slurm"]) == (
        f"bertjob doctor --prove --nodes 2 --site {site} --set mpi=true --set 'image.ref=x y'"
        " --set resources.partition=p --account g33"
    )
    own = tmp_path / "mine.yaml"
    own.write_text("base: squad\nlauncher: openmpi\n")
    assert launch_words(msgspec.structs.replace(asked, job=str(own)).load()).job == str(own)


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
    for key in ("site", "version", "engine", "image", "launcher"):
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
    def left(*options, nodes=("n1",)):
        job = msgspec.structs.replace(load_job("smoke").value, resources=Resources(sbatch=options))
        planned = plan(job, Site(name="s"), None, HERE)
        return advice.without(planned, [bad(node) for node in nodes]).options

    assert left(nodes=()) == ()
    assert left(nodes=("n1", "n2")) == ("--exclude=n1,n2",)
    assert left("--mail-type=END", "--exclude=n[7-8]") == ("--mail-type=END", "--exclude=n[7-8]", "--exclude=n[7-8],n1")
    assert left("-xn1") == ("-xn1", "--exclude=n1")


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

    monkeypatch.setattr("bertjob.cluster.runs.watch.wait", interrupted)
    result = CliRunner().invoke(cli, ["doctor", "--prove", "--site", "generic", "--run-dir", str(tmp_path / "p")])
    assert result.exit_code != 0
    assert commands.calls("scancel") == [["4711"]]
    assert "job 4711 is cancelled" in result.stderr
