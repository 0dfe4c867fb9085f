"""The options that verbs share, named as Slurm names them; their values, and what the shell completes."""

import os
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import msgspec
from msgspec.structs import replace

from bertjob.cluster.host.here import here
from bertjob.config.job import Job
from bertjob.config.load import Loaded, load_job, load_site
from bertjob.config.search import Kind, names
from bertjob.config.site import Site
from bertjob.errors import SpecError
from bertjob.launch.plan import Plan, plan

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


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
        shared: said to all jobs.
        own: said to this one.
    """

    shared: tuple[str, ...]
    own: tuple[str, ...]


def settings_of(settings: Sequence[str], job: str, chain: Sequence[str]) -> Settings:
    """The settings that are for a job.

    Args:
        settings: as they follow ``--set``.
        job: one of the chain, by name or path.
        chain: all jobs of the command line as they were given. A setting calls one so, or as its file does.

    Raises:
        SpecError: a setting is for a job that the chain lacks.
    """
    refuse_strangers(settings, chain)
    parted = [_addressed(setting) for setting in settings]
    shared = tuple(setting for to, setting in parted if to is None)
    return Settings(shared, tuple(setting for to, setting in parted if to is not None and to in _names(job)))


def refuse_strangers(settings: Sequence[str], chain: Sequence[str]) -> None:
    """Refuse a setting for a job that is not there; see `settings_of`.

    Raises:
        SpecError: there is one.
    """
    for setting in settings:
        to, _ = _addressed(setting)
        if to is not None and not any(to in _names(job) for job in chain):
            raise SpecError(f"--set {setting}: there is no job {to!r} here, but {', '.join(chain)}")


def key_of(setting: str) -> str:
    """The dotted key of ``key.path=value``."""
    return setting.partition("=")[0].strip()


def _addressed(setting: str) -> tuple[str | None, str]:
    """The job that a setting names before a colon in front of the key, and the setting without it."""
    words, equals, value = setting.partition("=")
    to, colon, key = words.rpartition(":")
    return (to.strip(), f"{key}{equals}{value}") if colon else (None, setting)


def _names(job: str) -> tuple[str, str]:
    return job, load_job(job).value.name


SMOKE = "smoke"
"""The job that proves a launch; doctor examines it where no job is named."""
SITE_VARIABLE = "BERTJOB_SITE"
"""Environment variable that names the site of submit and script where no --site is given; `run` means this machine."""

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
    """What the command line asks for: a job, a site, and where the run shall be."""

    job: str
    site: str
    settings: tuple[str, ...]
    options: dict[str, tuple[str, Any]]
    run_dir: str | None
    sbatch: tuple[str, ...]
    init: str | None = None
    """First weights in place of the job's."""
    chain: tuple[str, ...] = ()
    """All jobs of the command line where there are several, as they were given."""

    @property
    def said(self) -> Settings:
        """What ``--set`` says to this job.

        Raises:
            SpecError: it is for a job that is not there.
        """
        return settings_of(self.settings, self.job, self.chain or (self.job,))

    def load(self) -> tuple[Loaded[Job], Loaded[Site]]:
        """The job and the site.

        Raises:
            SpecError: either is not well formed.
        """
        said = self.said
        job = load_job(self.job, said.shared, self.options, said.own)
        if self.init is not None:
            job = replace(job, value=replace(job.value, model=replace(job.value.model, init=self.init, ckpt_type=None)))
        return job, load_site(self.site)

    def plan(self, run_dir: str | None) -> Plan:
        """The plan of the job at the site, for a run directory (None: the script makes its own).

        Raises:
            SpecError, PreflightError: the job is not well formed, or cannot work at the site.
        """
        job, site = self.load()
        resources = replace(job.value.resources, sbatch=(*job.value.resources.sbatch, *self.sbatch))
        return plan(replace(job.value, resources=resources), site.value, run_dir, here())


def one_word_each(words: Iterable[str]) -> tuple[str, ...]:
    """Options joined with their values, which sbatch reads the same: ``-dx`` for ``-d x``, ``--a=x`` for ``--a x``."""
    options: list[str] = []
    for word in words:
        if word.startswith("-"):
            options.append(word)
        elif options and "=" not in options[-1]:
            options[-1] += f"={word}" if options[-1].startswith("--") else word
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
            chosen = site or anywhere or default_site
            if run_dir is not None and not run_dir.strip():
                raise SpecError("--run-dir: a folder is wanted, got nothing")
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
