"""The options that verbs share, named as Slurm names them; their values, and what the shell completes."""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import msgspec
from msgspec.structs import replace

from bertjob.cluster.host.here import here
from bertjob.config.job import Job
from bertjob.config.load import JobFile, Sourced, build_job, load_site, read_job_file
from bertjob.config.search import Kind, names
from bertjob.config.site import Site
from bertjob.errors import SpecError, of_job
from bertjob.launch.plan import Plan, plan
from bertjob.launch.schedulers.sbatch_options import HETEROGENEOUS, separates_components

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_EXPECTED = {"--site": "the name or file of a site", "--run-dir": "a folder", "JOB": "the name or file of a job"}
SMOKE = "smoke"
"""The job that proves a launch; doctor examines it where no job is named."""
SITE_VARIABLE = "BERTJOB_SITE"
"""Environment variable that names the site of submit and script where no --site is given; `run` means this machine."""
_UNADDRESSED = re.compile(r"\s*[\w.-]+\s*=")
_ADDRESSED = re.compile(r"(.*?):(?=\s*[\w.-]+\s*(?:=|$))")
_RESOURCES = (
    ("-N", "--nodes", "nodes", int, "Nodes."),
    (None, "--ntasks-per-node", "tasks_per_node", int, "Ranks a node."),
    (None, "--gpus-per-node", "gpus_per_node", int, "GPUs a node."),
    ("-c", "--cpus-per-task", "cpus_per_task", int, "CPU cores a rank."),
    ("-t", "--time", "time", str, "Walltime, e.g. 30, 00:20:00, 1-12."),
    ("-A", "--account", "account", str, "Account to charge."),
    ("-p", "--partition", "partition", str, "Partition."),
    ("-C", "--constraint", "constraint", str, "Node features."),
)


def complete_runs(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Names of runs, the newest first; folders where no run is called so."""
    from click.shell_completion import CompletionItem

    from bertjob.cluster.runs.catalog import known

    names = dict.fromkeys(run.name for run in reversed(known()))
    found = [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return found or [CompletionItem(incomplete, type="dir")]


def complete_settings(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Keys of jobs with the sign that their value follows."""
    from bertjob.config.reference import keys

    return [f"{key.path}=" for key in keys("job") if key.path != "base" and key.path.startswith(incomplete)]


def complete_data_sets(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of public data sets."""
    from bertjob.cluster.datasets import DATA_SETS

    return [name for name in DATA_SETS if name.startswith(incomplete)]


class Settings(NamedTuple):
    """Settings of one job, as ``key.path=value``.

    Attributes:
        shared: given to all jobs of the command line.
        own: given to this one.
        typed: the same, each behind the job that it names, as it was given.
    """

    shared: tuple[str, ...]
    own: tuple[str, ...]
    typed: tuple[str, ...]


def settings_of(file: JobFile, settings: Sequence[str]) -> Settings:
    """The settings that are for a job, of those that follow ``--set``."""
    parted = [_addressed(setting, file.names) for setting in settings]
    shared = tuple(setting for to, setting in parted if to is None)
    own = [
        (given, one) for given, (to, one) in zip(settings, parted, strict=True) if to is not None and to in file.names
    ]
    return Settings(shared, tuple(one for _, one in own), tuple(given for given, _ in own))


def refuse_strangers(settings: Sequence[str], chain: Sequence[JobFile]) -> None:
    """Refuse a setting for a job that is not on the command line.

    Raises:
        SpecError: there is one.
    """
    for setting in settings:
        to, _ = _addressed(setting, [name for file in chain for name in file.names])
        if to is not None and not any(to in file.names for file in chain):
            there = ", ".join(file.given for file in chain)
            raise SpecError(f"--set {setting}: there is no job {to!r} here, but {there}")


def key_of(setting: str) -> str:
    """The dotted key of ``key.path=value``."""
    return setting.partition("=")[0].strip()


def _addressed(setting: str, jobs: Iterable[str]) -> tuple[str | None, str]:
    """The job that a setting names before a colon in front of the key, and the setting without it.

    Args:
        setting: as it was given.
        jobs: what the jobs of the command line may be called; a path may hold a colon or an equals sign.
    """
    for name in sorted(jobs, key=len, reverse=True):
        if setting.startswith(f"{name}:"):
            return name, setting[len(name) + 1 :]
    if _UNADDRESSED.match(setting):
        return None, setting
    found = _ADDRESSED.match(setting)
    return (found[1].strip(), setting[found.end() :]) if found else (None, setting)


class Names(click.ParamType[str]):
    """A job or site: a name that completes in the shell, or the path of a file."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.name = kind

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
        from click.shell_completion import CompletionItem

        known = [CompletionItem(name) for name in names(self.kind) if name.startswith(incomplete)]
        return known or [CompletionItem(incomplete, type="file")]


class SbatchCommand(click.Command):
    """A verb that hands everything after ``--`` to sbatch as it is."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            cut = args.index("--")
            args, ctx.meta["sbatch"] = args[:cut], tuple(args[cut + 1 :])
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-- SBATCH OPTIONS]"]


class JobIsOptional(click.Command):
    """A verb with the shared options that also works without a job: ``request.job`` is None then."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for parameter in self.params:
            if isinstance(parameter, click.Argument):
                parameter.required = False


class Request(msgspec.Struct, frozen=True):
    """What the command line asks for: a job, a site, and the folder of the run."""

    job: str
    site: str
    settings: tuple[str, ...]
    options: dict[str, tuple[str, Any]]
    run_dir: str | None
    sbatch: tuple[str, ...]

    def load(self) -> "Loaded":
        """Read the job and the site.

        Raises:
            SpecError: either is not well formed.
        """
        (loaded,) = self.load_chain((self.job,))
        return loaded

    def load_chain(self, jobs: Sequence[str]) -> "list[Loaded]":
        """Read several jobs in place of the one, each once, and the site.

        Raises:
            SpecError: one is not well formed, or a setting is for a job that is not among them.
        """
        several = len(jobs) > 1
        files = []
        for job in jobs:
            with of_job(job if several else None):
                files.append(read_job_file(job))
        refuse_strangers(self.settings, files)
        read = []
        for file in files:
            said = settings_of(file, self.settings)
            with of_job(file.given if several else None):
                read.append((file, self._build(file, said), said))
        site = load_site(self.site)
        return [Loaded(self, file, job, site, said) for file, job, said in read]

    def _build(self, file: JobFile, said: Settings) -> Sourced[Job]:
        """The job with all that the command line lays over it."""
        job = build_job(file, said.shared, self.options, dict(zip(said.typed, said.own, strict=True)))
        resources = replace(job.value.resources, sbatch=(*job.value.resources.sbatch, *self.sbatch))
        return replace(job, value=replace(job.value, resources=resources))


class Loaded(msgspec.Struct, frozen=True):
    """A job and its site, read once for the whole invocation.

    Attributes:
        request: the command line.
        file: the job as its files describe it.
        job: the job with all that the command line lays over it.
        site: where it is to run.
        settings: what ``--set`` gave to this job.
    """

    request: Request
    file: JobFile
    job: Sourced[Job]
    site: Sourced[Site]
    settings: Settings

    @property
    def name(self) -> str:
        """Name of the job."""
        return self.job.value.name

    def starting_from(self, model: str) -> "Loaded":
        """The same with a model's folder as first weights, in place of the job's own."""
        job = replace(self.job.value, model=replace(self.job.value.model, init=model, ckpt_type=None))
        return replace(self, job=replace(self.job, value=job))

    def plan(self, run_dir: Path | None) -> Plan:
        """Decide how the job starts at the site.

        Args:
            run_dir: folder of the run; None: the script makes one when it runs.

        Raises:
            SpecError, PreflightError: the job could not train anywhere, or not at the site.
        """
        folder = None if run_dir is None else str(run_dir.absolute())
        return plan(self.job.value, self.site.value, folder, here(), self.request.site, self.job.origins)


def one_word_each(words: Iterable[str]) -> tuple[str, ...]:
    """Options joined with their values, which sbatch reads the same: ``-dx`` for ``-d x``, ``--a=x`` for ``--a x``."""
    options: list[str] = []
    bare = False
    for word in words:
        if separates_components(word):
            raise click.UsageError(f"after --: {word!r}: {HETEROGENEOUS}")
        if word.startswith("-"):
            options.append(word)
            bare = "=" not in word
        elif bare:
            options[-1] += f"={word}" if options[-1].startswith("--") else word
            bare = False
        else:
            raise click.UsageError(f"after --: {word!r} belongs to no option of sbatch")
    return tuple(options)


def job_options(default_site: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A job argument with the options that lay values over it; the function gets one ``request``.

    Args:
        default_site: the site where neither --site nor $BERTJOB_SITE says one; with `local` the latter is not asked.
    """
    default = default_site if default_site == "local" else f"${SITE_VARIABLE} or {default_site}"

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(job: str, site: str | None, settings: tuple[str, ...], run_dir: str | None, **rest: Any) -> Any:
            options = {
                f"resources.{key}": (option, value)
                for _, option, key, _, _ in _RESOURCES
                if (value := rest.pop(key)) is not None
            }
            sbatch = one_word_each(click.get_current_context().meta.get("sbatch", ()))
            anywhere = None if default_site == "local" else os.environ.get(SITE_VARIABLE)
            chosen = anywhere or default_site if site is None else site
            said = {"--site": site, "--run-dir": run_dir, "JOB": job, **dict(options.values())}
            for option, value in said.items():
                if isinstance(value, str) and not value.strip():
                    raise SpecError(f"{option}: expected {_EXPECTED.get(option, 'a value')}, got nothing")
            return function(request=Request(job, chosen, settings, options, run_dir, sbatch), **rest)

        decorated: Any = call
        for short, option, key, kind, text in reversed(_RESOURCES):
            flags = [flag for flag in (short, option, key) if flag]
            decorated = click.option(*flags, type=kind, default=None, help=text)(decorated)
        decorated = click.option("--run-dir", metavar="DIR", help="Folder of the run (default: runs/NAME-TIME).")(
            decorated
        )
        decorated = click.option(
            "--set",
            "settings",
            metavar="KEY.PATH=VALUE",
            multiple=True,
            shell_complete=complete_settings,
            help="Lay a value over the job, or over one of several as JOB:KEY.PATH=VALUE; repeatable.",
        )(decorated)
        decorated = click.option("--site", type=Names("site"), help=f"Name or file of the site (default: {default}).")(
            decorated
        )
        with_job: Callable[..., Any] = click.argument("job", type=Names("job"))(decorated)
        return with_job

    return decorate


json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
