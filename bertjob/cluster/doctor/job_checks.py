"""Checks of the job: can it be planned, are its files there, does the image run."""

from collections.abc import Iterator

from bertjob.cluster.doctor.case import Case, Finding, fail, ok, warn
from bertjob.cluster.doctor.launch_checks import unsaid
from bertjob.launch import pmi
from bertjob.text import counted


def plan(case: Case) -> Iterator[Finding]:
    """Whether the job can start at the site at all."""
    if case.plan is None:
        anything = "change the job or the site file; `bertjob jobs` shows where each value is said"
        yield fail("plan", case.refusal, unsaid(case) or anything)
        return
    shape = case.plan.shape
    ranks = f"{counted(shape.nodes, 'node')} x {counted(shape.tasks_per_node, 'rank')}"
    where = f"{ranks} by {shape.launcher} and engine {shape.engine}"
    yield ok("plan", f"{where}, {case.plan.summary}" if case.named else where)
    for problem in case.plan.problems:
        yield fail("plan", problem.what, problem.remedy)
    for warning in case.plan.warnings if case.named else ():
        yield warn("plan", warning, "`--set`, or the job file")


def files(case: Case) -> Iterator[Finding]:
    """The files that the job reads, and the packages of its Python."""
    for key, problem in case.problems.items():
        if problem:
            yield fail(
                key, problem, "bring it there, or `--set " + key + "=…`" if "." in key else "see the line itself"
            )
        elif case.plan is not None and key in case.plan.inputs:
            yield ok(key, case.plan.inputs[key])


def model(case: Case) -> Iterator[Finding]:
    """Whether the nodes can get the model that the job names."""
    if case.hub is not None:
        level = fail if case.site.internet is False else warn
        yield level("model", case.hub.what, case.hub.remedy)


def engine(case: Case) -> Iterator[Finding]:
    """Whether the container engine is here."""
    found = case.machine.programs.engines
    others = [f"{name} {version}".strip() for name, version in found.items()]
    there = f"here are {', '.join(others)}" if others else "there is no other one here"
    if case.engine == "none":
        yield ok("engine", f"none is used; {there}" if others else "none is used, and there is none")
    elif case.engine not in found:
        remedy = f"name its module in the site file, or another engine: {there}"
        yield fail("engine", f"{case.engine} is not here", remedy)
    else:
        yield ok("engine", f"{case.engine} {found[case.engine]}".strip())


def image(case: Case) -> Iterator[Finding]:
    """Whether the image is here, which one it is, and what it holds."""
    found = case.image
    if case.missing_overlay is not None:
        yield fail("image", case.missing_overlay.what, case.missing_overlay.remedy)
    if found is None or (found.facts is None and case.machine.programs.modules_error):
        return  # without its modules the engine may not be there, which is said already
    if found.facts is None:
        yield fail("image", found.error, "`bertjob image --help` says how to pull, load or build it")
        return
    yield ok("image", f"{found.ref}{f', {found.digest[:19]}…' if found.digest else ''}")
    holds = found.facts
    if holds.outdated and case.job.image.source is None:
        remedy = "another image, `bertjob image overlay`, or image.source"
        yield warn("in the image", f"bertjob {holds.packages['bertjob']}, and {holds.outdated}", remedy)
    if holds.missing:
        yield fail("in the image", "; ".join(holds.missing), "another image, or `bertjob image overlay`")
    gpu = f"CUDA {holds.cuda}" if holds.cuda else f"ROCm {holds.rocm}" if holds.rocm else "for CPUs"
    mpi = pmi.name(holds.mpi) if holds.mpi.family else "no MPI"
    torch = f", torch {holds.packages['torch']} {gpu}" if "torch" in holds.packages else ""
    yield ok("in the image", f"Python {holds.python}{torch}, {mpi}")
    if gpu == "for CPUs" and case.job.resources.gpus_per_node:
        yield fail("in the image", "its torch is built for CPUs, and GPUs are asked for", "an image with CUDA or ROCm")


def proof(case: Case) -> Iterator[Finding]:
    """Whether a launch was proved with this combination, and which nodes failed one."""
    if case.proof is None:
        remedy = f"`{case.typed.to_prove(case.scheduler)}`"
        yield warn("proof", "no launch was proved with this engine, image and launcher", remedy)
    else:
        yield ok("proof", str(case.proof))
    for node in case.bad_nodes:
        yield warn("bad node", f"{node.name} is left out: {node.reason}", f"repaired: `{case.typed.to_forget()}`")
