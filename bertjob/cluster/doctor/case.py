"""What doctor judges (a job at a site, and all that was asked of this machine), and what its checks find."""

import shlex
from collections.abc import Mapping
from typing import Literal

import msgspec

from bertjob.cluster.doctor.proofs import BadNode, Proved
from bertjob.cluster.host import Machine
from bertjob.config.job import Job, Launcher
from bertjob.config.site import Site
from bertjob.launch.plan import Plan
from bertjob.launch.problems import Problem
from bertjob.launch.schedulers import SCHEDULERS, Scheduler
from bertjob.rundir.image_contents import ImageFacts


class Typed(msgspec.Struct, frozen=True):
    """What the command line said of a launch, in its own words.

    Attributes:
        site: name or file of the site, as after `--site`.
        job: name or file of the job, where its file says how it is launched; empty elsewhere.
        options: options that change the launch, one word each.
    """

    site: str
    job: str = ""
    options: tuple[str, ...] = ()

    def to_prove(self, scheduler: Scheduler) -> str:
        """What proves the launch that was asked for, and not another one."""
        nodes = ("--nodes", "2") if scheduler.queues else ()
        job = (self.job,) if self.job else ()
        return shlex.join(("bertjob", "doctor", *job, "--prove", *nodes, "--site", self.site, *self.options))

    def to_check(self, image: str) -> str:
        """What looks into an image."""
        return shlex.join(("bertjob", "image", "check", image, "--site", self.site))

    def to_forget(self) -> str:
        """What forgets the nodes that failed."""
        return shlex.join(("bertjob", "doctor", "--forget", "--site", self.site))


Level = Literal["ok", "warn", "fail"]


class Finding(msgspec.Struct, frozen=True):
    """One line of doctor.

    Attributes:
        check: what was looked at, in one or two words.
        level: `fail` would stop a job; `warn` is seldom meant.
        finding: what is so.
        remedy: what to do; empty where nothing need be done.
    """

    check: str
    level: Level
    finding: str
    remedy: str = ""


def ok(check: str, finding: str) -> Finding:
    """All is well."""
    return Finding(check, "ok", finding)


def warn(check: str, finding: str, remedy: str) -> Finding:
    """It works, but is seldom meant."""
    return Finding(check, "warn", finding, remedy)


def fail(check: str, finding: str, remedy: str) -> Finding:
    """A job would not work."""
    return Finding(check, "fail", finding, remedy)


class Image(msgspec.Struct, frozen=True):
    """The container image as it was found; an `error` says why nothing is known of what it holds."""

    ref: str
    digest: str = ""
    facts: ImageFacts | None = None
    error: str = ""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """Facts; the checks are functions of it alone.

    Attributes:
        job: the job, whole: engine, launcher and resources are said.
        site: where it is to run.
        machine: what was asked here.
        typed: what the user said of the launch, for commands that say it again.
        named: whether the user named the job, so that its data matter.
        plan: how it would start; None where it cannot.
        refusal: why there is no plan.
        problems: what is wrong with the files that the job needs, by key; empty for one that is there.
        image: the image; None without a container, or where it was not looked at.
        missing_overlay: nobody has made the overlay of the image yet.
        hub: the model is a name on the hub, which the nodes may not reach.
        limits: resource limits of this shell that may end the job.
        root_refused: the launcher will not start, as the user is root and nothing says that this is meant.
        proof: the newest launch proof of this combination.
        bad_nodes: nodes that failed a proof not long ago.
    """

    job: Job
    site: Site
    machine: Machine
    typed: Typed
    named: bool = False
    plan: Plan | None = None
    refusal: str = ""
    problems: Mapping[str, str] = {}
    image: Image | None = None
    missing_overlay: Problem | None = None
    hub: Problem | None = None
    limits: tuple[Problem, ...] = ()
    root_refused: bool = False
    proof: Proved | None = None
    bad_nodes: tuple[BadNode, ...] = ()

    @property
    def scheduler(self) -> Scheduler:
        """What the site's scheduler means for the job."""
        return SCHEDULERS[self.site.scheduler]

    @property
    def engine(self) -> str:
        """Container engine."""
        return self.job.engine or self.site.engine

    @property
    def launcher(self) -> Launcher:
        """What starts the ranks."""
        return self.job.launcher or self.site.launcher
