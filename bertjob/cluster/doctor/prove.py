"""The launch proof: first each node starts engine and image by itself, then all ranks run the smoke job."""

import re
import time

import msgspec
from msgspec.structs import replace

from bertjob.cluster.doctor.proofs import BadNode, Book, Combination, Proved
from bertjob.config.job import Job
from bertjob.config.site import Site
from bertjob.launch.plan import Layer, Plan, plan
from bertjob.launch.resolve import Here
from bertjob.launch.script import command
from bertjob.rundir.directory import RunDir
from bertjob.rundir.proof import Proof, read_proof
from bertjob.rundir.state import read_state

_STARTED = "started"
_LONGEST_REASON = 160


class Verdict(msgspec.Struct, frozen=True):
    """What came of a proof.

    Attributes:
        proof: what the ranks saw; None where the launch failed.
        bad: why each node that could not start the program failed.
        error: what the smoke job said at last, where it failed.
    """

    proof: Proof | None
    bad: dict[str, str]
    error: str = ""


def smoke(job: Job, own: Job) -> Job:
    """The smoke job in the place of another one: with its engine, image, launcher, environment and resources.

    Args:
        job: what is to be launched later.
        own: the smoke job.
    """
    return replace(
        own,
        engine=job.engine,
        image=job.image,
        launcher=job.launcher,
        mpi=job.mpi,
        srun_mpi=job.srun_mpi,
        env=job.env,
        env_from=job.env_from,
        resources=replace(job.resources, time=own.resources.time),
    )


def proving(job: Job, site: Site, run_dir: str, here: Here, site_given: str | None = None) -> Plan:
    """The plan of a smoke job whose script begins with a short step: each node starts the program's Python.

    Args:
        job: the smoke job.
        site: where.
        run_dir: absolute path of the run directory.
        here: facts of this machine.
        site_given: the name or file by which the user names the site (default: its name).

    Raises:
        PreflightError, SpecError: the job cannot start at the site.
    """
    whole = plan(job, site, run_dir, here, site_given)
    scheduler = whole.scheduler
    if not scheduler.node_names:
        return whole
    one_a_node = plan(replace(job, launcher=scheduler.launcher, mpi=False, srun_mpi="none"), site, run_dir, here)
    launcher, engine, program = one_a_node.layers
    options = scheduler.start_on_each_node("logs/start.%n.out")
    python = (program.words[0], "-c", f"print('{_STARTED}')")
    lines = [
        "# Each node starts the program's Python by itself first, so that one that cannot is known by its name.",
        f"{scheduler.node_names} > logs/start.nodes",
        f"{command((Layer((*launcher.words, *options)), engine, Layer(python)))} || exit 1",
    ]
    return replace(whole, files="\n\n".join(filter(None, (whole.files, "\n".join(lines)))))


def verdict(run_dir: RunDir) -> Verdict:
    """What the run directory of a proof that has ended tells."""
    started, bad = starts(run_dir)
    if bad and not started:  # then engine, image or site file is wrong, and the nodes are not to blame
        return Verdict(None, {}, f"no node can start the program: {next(iter(bad.values()))}")
    proof = None if bad else read_proof(run_dir.proof)
    if proof is not None:
        return Verdict(proof, {})
    state = read_state(run_dir.state)
    said = state.error if state is not None else ""
    return Verdict(None, bad, said or _last_line(run_dir))


def starts(run_dir: RunDir) -> tuple[list[str], dict[str, str]]:
    """The nodes that could start the program, and why each other one could not; nothing where none was asked."""
    try:
        nodes = (run_dir.logs / "start.nodes").read_text().split()
    except OSError:
        return [], {}
    said = {node: _text(run_dir, number) for number, node in enumerate(nodes)}
    started = [node for node, text in said.items() if _STARTED in text.split()]
    return started, {node: _reason(text) for node, text in said.items() if node not in started}


def noted(book: Book, found: Verdict, about: Combination, run_dir: RunDir) -> Book:
    """The book with what a proof has shown."""
    if found.proof is not None:
        return book.with_proof(Proved(combination=about, proof=found.proof, run_dir=str(run_dir.path)))
    if not found.bad:
        return book.without_proof(about)
    return book.with_bad(
        BadNode(name=name, site=about.site, engine=about.engine, reason=reason, time=time.time())
        for name, reason in found.bad.items()
    )


def _text(run_dir: RunDir, number: int) -> str:
    try:
        return (run_dir.logs / f"start.{number}.out").read_text(errors="replace")
    except OSError:
        return ""


def _reason(text: str) -> str:
    """The last line that is not srun's or slurmstepd's own remark on the exit code."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "Exited with exit code" not in line] or ["it did not start anything"]
    return re.sub(r"^slurmstepd(-\S+)?: error: ", "", telling[-1])[:_LONGEST_REASON]


def _last_line(run_dir: RunDir) -> str:
    logs = sorted(run_dir.logs.glob("*.out"), key=lambda path: path.stat().st_mtime)
    for path in reversed([path for path in logs if path.suffixes == [".out"]]):
        if lines := path.read_text(errors="replace").strip().splitlines():
            return lines[-1].removeprefix("bertjob: ")
    return "it ended without a word"
