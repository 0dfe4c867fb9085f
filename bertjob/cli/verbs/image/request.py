"""What the commands of ``bertjob image`` share: site, engine and name of the image, what is run, what is told."""

import os
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import click

from bertjob.cli.options import SITE_VARIABLE, Names
from bertjob.config.load import load_site
from bertjob.config.site import Site
from bertjob.errors import PreflightError, SpecError
from bertjob.launch.engines import containers
from bertjob.launch.engines.images import commands, image_file, in_job
from bertjob.launch.engines.references import REFERENCE, Form, problem
from bertjob.launch.engines.types import Command, Order, Verb

Watch = Callable[[int | None], object]
"""Is given the process of a command, and None at its end."""
_Function = Callable[..., Any]


def site_options(function: _Function) -> _Function:
    """The options that say whose engine it is."""
    engines = click.Choice(list(containers()))
    function = click.option("--engine", type=engines, help="Another engine than the site's.")(function)
    return click.option(
        "--site", type=Names("site"), help=f"Name or file of the site (default: ${SITE_VARIABLE} or local)."
    )(function)


dry_run_option = click.option("--dry-run", is_flag=True, help="Print the commands in place of running them.")
wheels_option = click.option(
    "--wheels",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Install from this folder of the locks' files, without any network.",
)
index_option = click.option("--index", metavar="URL", help="Take the packages from this mirror of PyPI.")
output_option = click.option(
    "-o", "--output", metavar="FILE", help="Where the image goes, with engines whose images are files."
)


yes_option = click.option("-y", "--yes", is_flag=True, help="Replace a file that is there already without asking.")


def site_name(site: str | None) -> str:
    """The site that is meant where the option may be missing."""
    return site or os.environ.get(SITE_VARIABLE) or "local"


def site_and_engine(site: str | None, engine: str | None) -> tuple[Site, str]:
    """The site, and the engine to use there."""
    from bertjob.cluster.images.engine import engine_of

    where = load_site(site_name(site)).value
    return where, engine_of(where, engine)


def ref_of(site: Site) -> str:
    """The image of the site.

    Raises:
        SpecError: it names none.
    """
    if site.image.ref is None:
        raise SpecError(f"site {site.name} names no image: give one, e.g. nvcr.io/nvidia/pytorch:24.11-py3")
    return site.image.ref


def named(said: str, ref: str, engine: str, forms: Collection[Form] = (REFERENCE,)) -> str:
    """The name of an image as `said` gives it.

    Raises:
        SpecError: it has none of the forms.
    """
    if wrong := problem(ref, engine, forms):
        raise SpecError(f"{said}: {ref!r} {wrong}")
    return ref


def order_of(engine: str, ref: str, output: str | None, **rest: Any) -> Order:
    """What an engine is to do with an image, and the file that it makes of it, if it makes one.

    Raises:
        SpecError: a file is named, and the engine makes none.
    """
    file = str(Path(output or image_file(engine, ref)).absolute()) if image_file(engine, ref) else ""
    if output and not file:
        raise SpecError(f"--output: engine {engine} keeps images in a store of its own; leave it out")
    return Order(ref=ref, file=file, **rest)


def carry_out_order(engine: str, verb: Verb, order: Order, site: Site, *, yes: bool, dry_run: bool) -> None:
    """Have an engine do what is ordered; a file that it makes is whole, or not there."""
    from bertjob.cluster.images.image_files import whole

    may_replace(order, yes, dry_run)
    if dry_run:
        carry_out(commands(engine, verb, order), site, dry_run)
        return
    with whole(order) as (partly, guard):
        carry_out(commands(engine, verb, partly), site, dry_run, watch=guard.watch)


def carry_out(
    sequence: tuple[Command, ...],
    site: Site,
    dry_run: bool,
    hidden: Collection[str] = (),
    watch: Watch = lambda pid: None,
) -> None:
    """Run the commands without the `hidden` variables, with what they print on stderr; or print them."""
    import shlex

    from bertjob.cluster.images.engine import run

    if dry_run:
        for command in sequence:
            click.echo(shlex.join(command))
    else:
        run(sequence, site, lambda line: click.echo(line, err=True), hidden, watch)


def may_replace(order: Order, yes: bool, dry_run: bool) -> None:
    """Ask before a file is replaced.

    Raises:
        PreflightError: there is nobody to ask.
    """
    from bertjob.cluster.images.image_files import files

    there = [path for path in files(order) if os.path.lexists(path)]
    if not there or yes or dry_run:
        return
    if not sys.stdin.isatty():
        raise PreflightError(f"{there[0]}: is there already: say --yes to replace it, or choose another name")
    if not click.confirm(f"{', '.join(there)}: is there already; replace it?", err=True):
        raise click.exceptions.Exit(1)


def say_what_is_gone(gone: bool) -> None:
    """A word on paths in printed commands, where there are some that do not stay."""
    if gone:
        click.echo("what these commands name in a temporary folder is there only while bertjob runs them", err=True)


def show_result(engine: str, order: Order, dry_run: bool) -> None:
    """What `image.ref` of a job is then; the last line of stdout."""
    if not dry_run:
        click.echo(in_job(engine, order))
