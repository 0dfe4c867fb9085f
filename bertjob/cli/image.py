"""``bertjob image``: build, bring, check and name container images by the engine of a site."""

import json
import os
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from bertjob.cli.options import SITE_VARIABLE, Names, json_option
from bertjob.errors import PreflightError, SpecError
from bertjob.launch.engines import ENGINES
from bertjob.launch.engines.references import PATH, REFERENCE, problem
from bertjob.launch.images import Command, Order, commands, image_file, in_job, pulled
from bertjob.spec.job import Engine, Image
from bertjob.spec.load import load_site
from bertjob.spec.site import Site

if TYPE_CHECKING:
    from bertjob.cluster.recipe import Variant

_Function = Callable[..., Any]
_ENGINES = tuple(engine for engine in get_args(Engine) if engine != "none")


def _site_options(function: _Function) -> _Function:
    function = click.option("--engine", type=click.Choice(_ENGINES), help="Another engine than the site's.")(function)
    return click.option(
        "--site", type=Names("site"), help=f"Name or file of the site (default: ${SITE_VARIABLE} or local)."
    )(function)


_dry_run = click.option("--dry-run", is_flag=True, help="Print the commands in place of running them.")
_wheels = click.option(
    "--wheels",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Install from this folder of wheels, without any network.",
)
_output = click.option(
    "-o", "--output", metavar="FILE", help="Where the image goes, with engines whose images are files."
)


@click.group("image")
def verb() -> None:
    """Build, bring, check and name container images."""


@verb.command("build", context_settings={"ignore_unknown_options": True})
@_site_options
@click.option("--cpu", is_flag=True, help="The variant for CPUs, on a plain Python.")
@click.option("--base", metavar="REF", help="Build on this image in place of the one in container/image.env.")
@click.option("--tag", metavar="REF", help="Name of the image.")
@_wheels
@_output
@click.option("--archive", metavar="FILE.tar", help="Leave a docker-archive as well, for `image load` elsewhere.")
@_dry_run
@click.argument("builder_options", nargs=-1, type=click.UNPROCESSED, metavar="[-- BUILDER OPTIONS]")
def build_command(
    site: str | None,
    engine: str | None,
    cpu: bool,
    base: str | None,
    tag: str | None,
    wheels: Path | None,
    output: str | None,
    archive: str | None,
    dry_run: bool,
    builder_options: tuple[str, ...],
) -> None:
    """Build bertjob's image from its own sources.

    The last line of stdout is what `image.ref` of a job is then. Everything after -- goes to the builder as it is.
    """
    from bertjob.cluster import recipe

    where, name = _where(site, engine)
    variant: Variant = "cpu" if cpu else "gpu"
    own = recipe.read_recipe()
    if base is not None:
        _named("--base", base, name)
    if tag is not None:
        _named("--tag", tag, name)
    arguments = recipe.arguments(variant, base or own.bases[variant].pinned, wheels is not None)
    with recipe.context(wheels) as folder:
        order = _order(
            name,
            ref=tag or own.ref(variant),
            output=output,
            archive=str(Path(archive).absolute()) if archive else "",
            context=str(folder),
            arguments=arguments,
            extra=builder_options,
        )
        sequence = commands(name, "build", order)
        if base is None and not own.bases[variant].digest:
            click.echo(f"warning: base {own.bases[variant].ref} is not pinned: bertjob image digest --pin", err=True)
        _carry_out(sequence, where, dry_run)
    _result(name, order, dry_run)
    _say_what_is_gone(dry_run)


@verb.command("pull")
@click.argument("ref", required=False)
@_site_options
@_output
@_dry_run
def pull_command(ref: str | None, site: str | None, engine: str | None, output: str | None, dry_run: bool) -> None:
    """Bring an image from a registry (default: the site's).

    The last line of stdout is what `image.ref` of a job is then.
    """
    where, name = _where(site, engine)
    wanted = ref or _ref_of(where)
    if ref is None and PATH.fullmatch(wanted):
        told = "which nothing can pull: name a reference; -o says where it goes"
        raise SpecError(f"site {where.name}'s image is the file {wanted}, {told}")
    order = _order(name, ref=_named("REF", wanted, name, pulled(name)), output=output)
    _carry_out(commands(name, "pull", order), where, dry_run)
    _result(name, order, dry_run)


@verb.command("load")
@click.argument("archive", metavar="FILE.tar", type=click.Path(path_type=Path))
@click.argument("ref", required=False)
@_site_options
@_output
@_dry_run
def load_command(
    archive: Path, ref: str | None, site: str | None, engine: str | None, output: str | None, dry_run: bool
) -> None:
    """Bring an image from a docker-archive, as `image build --archive` leaves it.

    REF is its name (default: the one in the archive). The last line of stdout is what `image.ref` of a job is
    then.
    """
    from bertjob.cluster.images import check_archive
    from bertjob.cluster.recipe import read_recipe

    where, name = _where(site, engine)
    if ref is not None:
        _named("REF", ref, name)
    own = check_archive(archive)
    called = ref or (own or read_recipe().ref("gpu")).removeprefix("localhost/")
    order = _order(name, ref=called, output=output, archive=str(archive.absolute()), archived=own)
    _carry_out(commands(name, "load", order), where, dry_run)
    _result(name, order, dry_run)


@verb.command("list")
@_site_options
def list_command(site: str | None, engine: str | None) -> None:
    """List the images that the engine has."""
    from bertjob.cluster.images import run

    where, name = _where(site, engine)
    run(commands(name, "list", Order()), where, click.echo)


@verb.command("digest")
@click.argument("ref", required=False)
@_site_options
@click.option("--registry", is_flag=True, help="Ask the registry, and not the engine for an image that is here.")
@click.option("--pin", is_flag=True, help="Write the digests of the bases into container/image.env.")
def digest_command(ref: str | None, site: str | None, engine: str | None, registry: bool, pin: bool) -> None:
    """Print the content digest of an image (default: the site's)."""
    from bertjob.cluster import recipe
    from bertjob.cluster.images import digest
    from bertjob.cluster.registry import registry_digest

    if pin:
        digests = {variant: registry_digest(base.ref) for variant, base in recipe.read_recipe().bases.items()}
        click.echo(f"written to {recipe.pin(digests)}", err=True)
        click.echo("\n".join(digests.values()))
        return
    where = load_site(_site_name(site)).value
    wanted = ref or _ref_of(where)
    if registry:
        click.echo(registry_digest(wanted))
        return
    _, name = _where(site, engine)
    found = digest(name, _named("REF", wanted, name, (*ENGINES[name].images, PATH)), where)
    if found is None:
        why = "it is not here (bertjob image list), or it has none"
        raise PreflightError(
            f"{wanted}: engine {name} tells no digest of it: {why}; --registry asks where it comes from"
        )
    click.echo(found)


@verb.command("check")
@click.argument("ref", required=False)
@_site_options
@click.option("--overlay", metavar="DIR", help="Check the Python of this overlay.")
@click.option("--gpus", type=int, default=0, metavar="N", help="Ask the engine for GPUs, where this machine has some.")
@json_option
def check_command(
    ref: str | None, site: str | None, engine: str | None, overlay: str | None, gpus: int, as_json: bool
) -> None:
    """Start an image and say what it holds, and what training misses in it.

    Without REF it is the site's image with the site's overlay. Exit code 1 when something is missing.
    """
    import msgspec

    from bertjob.cluster.images import inspect

    where, name = _where(site, engine)
    wanted = _named("REF", ref or _ref_of(where), name, ENGINES[name].images)
    image = Image(ref=wanted, overlay=overlay or (None if ref else where.image.overlay))
    facts = inspect(image, where, name, gpus)
    if as_json:
        said = {**msgspec.to_builtins(facts), "missing": facts.missing, "absent": facts.absent}
        click.echo(json.dumps(said, indent=2))
    else:
        from bertjob.cli.console import show
        from bertjob.cli.image_view import facts_table

        show(facts_table(facts))
    if facts.missing:
        raise click.exceptions.Exit(1)


@verb.command("overlay", context_settings={"ignore_unknown_options": True})
@_site_options
@click.option("--path", metavar="DIR", help="Folder of the environment (default: image.overlay of the site).")
@click.option("--image", "ref", metavar="REF", help="Image that it is made in (default: the site's).")
@_wheels
@_dry_run
@click.argument("packages", nargs=-1, type=click.UNPROCESSED, metavar="[-- PACKAGES]")
def overlay_command(
    site: str | None,
    engine: str | None,
    path: str | None,
    ref: str | None,
    wheels: Path | None,
    dry_run: bool,
    packages: tuple[str, ...],
) -> None:
    """Make a virtual environment with what an image lacks, inside of it.

    It holds bertjob, its packages, and after -- whatever pip shall install besides. Name it in the job or the site as
    `image.overlay`; it is the last line of stdout.
    """
    from bertjob.cluster.overlay import overlay_commands

    where, name = _where(site, engine)
    folder = path or where.image.overlay
    if folder is None:
        raise SpecError(f"site {where.name} names no image.overlay: say --path")
    wanted = _named("--image", ref or _ref_of(where), name, ENGINES[name].images)
    with overlay_commands(name, wanted, folder, where, packages, wheels) as sequence:
        _carry_out(sequence, where, dry_run)
    _say_what_is_gone(dry_run)
    if not dry_run:
        click.echo(folder)


def _site_name(site: str | None) -> str:
    return site or os.environ.get(SITE_VARIABLE) or "local"


def _where(site: str | None, engine: str | None) -> tuple[Site, str]:
    """The site, and the engine to use there."""
    from bertjob.cluster.images import engine_of

    where = load_site(_site_name(site)).value
    return where, engine_of(where, engine)


def _ref_of(site: Site) -> str:
    if site.image.ref is None:
        raise SpecError(f"site {site.name} names no image: give one, e.g. nvcr.io/nvidia/pytorch:24.11-py3")
    return site.image.ref


def _named(said: str, ref: str, engine: str, forms: Collection[re.Pattern[str]] = (REFERENCE,)) -> str:
    """The name of an image as `said` gives it, if it has one of the forms."""
    if wrong := problem(ref, engine, forms):
        raise SpecError(f"{said}: {ref!r} {wrong}")
    return ref


def _order(engine: str, ref: str, output: str | None, **rest: Any) -> Order:
    file = str(Path(output or image_file(engine, ref)).absolute()) if image_file(engine, ref) else ""
    if output and not file:
        raise SpecError(f"--output: engine {engine} keeps images in a store of its own; leave it out")
    return Order(ref=ref, file=file, **rest)


def _carry_out(sequence: tuple[Command, ...], site: Site, dry_run: bool) -> None:
    import shlex

    from bertjob.cluster.images import run

    if dry_run:
        for command in sequence:
            click.echo(shlex.join(command))
    else:
        run(sequence, site, lambda line: click.echo(line, err=True))


def _say_what_is_gone(dry_run: bool) -> None:
    if dry_run:
        click.echo("bertjob's sources lie in a folder that is there only while these commands run", err=True)


def _result(engine: str, order: Order, dry_run: bool) -> None:
    if not dry_run:
        click.echo(in_job(engine, order))
