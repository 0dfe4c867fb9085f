"""``bertjob image``: build, pull, load, check, list and name container images by the engine of a site."""

import json
from pathlib import Path

import click

from bertjob.cli.options import json_option
from bertjob.cli.verbs.image.build import build_command, overlay_command
from bertjob.cli.verbs.image.request import (
    carry_out_order,
    dry_run_option,
    named,
    order_of,
    output_option,
    ref_of,
    show_result,
    site_and_engine,
    site_name,
    site_options,
    yes_option,
)
from bertjob.config.job import Image
from bertjob.config.load import load_site
from bertjob.errors import PreflightError, SpecError
from bertjob.launch.engines import ENGINES
from bertjob.launch.engines.images import commands, in_job
from bertjob.launch.engines.references import PATH
from bertjob.launch.engines.types import Order


@click.command("pull")
@click.argument("ref", required=False)
@site_options
@output_option
@yes_option
@dry_run_option
def pull_command(
    ref: str | None, site: str | None, engine: str | None, output: str | None, yes: bool, dry_run: bool
) -> None:
    """Bring an image from a registry (default: the site's).

    The last line of stdout is what `image.ref` of a job is then.
    """
    where, name = site_and_engine(site, engine)
    wanted = ref or ref_of(where)
    if ref is None and PATH.fullmatch(wanted):
        told = "which nothing can pull: name a reference; -o says where it goes"
        raise SpecError(f"site {where.name}'s image is the file {wanted}, {told}")
    order = order_of(name, ref=named("REF", wanted, name, ENGINES[name].images.pulled), output=output)
    carry_out_order(name, "pull", order, where, yes=yes, dry_run=dry_run)
    show_result(name, order, dry_run)


@click.command("load")
@click.argument("archive", metavar="FILE.tar", type=click.Path(path_type=Path))
@click.argument("ref", required=False)
@site_options
@output_option
@yes_option
@dry_run_option
def load_command(
    archive: Path, ref: str | None, site: str | None, engine: str | None, output: str | None, yes: bool, dry_run: bool
) -> None:
    """Bring an image from a docker-archive, as `image build --archive` leaves it.

    REF is its name (default: the one in the archive). The last line of stdout is what `image.ref` of a job is
    then.
    """
    from bertjob.cluster.images.archive import check_archive
    from bertjob.cluster.images.build import read_recipe
    from bertjob.cluster.images.engine import digest
    from bertjob.cluster.images.seen import remember_archive

    where, name = site_and_engine(site, engine)
    if ref is not None:
        named("REF", ref, name)
    own = check_archive(archive)
    called = ref or (own or read_recipe().ref("gpu")).removeprefix("localhost/")
    order = order_of(name, ref=called, output=output, archive=str(archive.absolute()), archived=own)
    carry_out_order(name, "load", order, where, yes=yes, dry_run=dry_run)
    if not dry_run and not order.file and digest(name, in_job(name, order), where) is None:
        remember_archive(name, in_job(name, order), archive)
    show_result(name, order, dry_run)


@click.command("list")
@site_options
def list_command(site: str | None, engine: str | None) -> None:
    """List the images that the engine has."""
    from bertjob.cluster.images.engine import run

    where, name = site_and_engine(site, engine)
    run(commands(name, "list", Order()), where, click.echo)


@click.command("digest")
@click.argument("ref", required=False)
@site_options
@click.option("--registry", is_flag=True, help="Ask the registry, and not the engine for an image that is here.")
@click.option("--pin", is_flag=True, help="Write the digests of the bases into container/image.env.")
def digest_command(ref: str | None, site: str | None, engine: str | None, registry: bool, pin: bool) -> None:
    """Print the content digest of an image (default: the site's)."""
    from bertjob.cluster.images import build
    from bertjob.cluster.images.engine import digest
    from bertjob.cluster.images.registry import registry_digest

    if pin:
        digests = {variant: registry_digest(base.ref) for variant, base in build.read_recipe().bases.items()}
        click.echo(f"written to {build.pin(digests)}", err=True)
        click.echo("\n".join(digests.values()))
        return
    where = load_site(site_name(site)).value
    wanted = ref or ref_of(where)
    if registry:
        click.echo(registry_digest(wanted))
        return
    _, name = site_and_engine(site, engine)
    found = digest(name, named("REF", wanted, name, (*ENGINES[name].takes, PATH)), where)
    if found is None:
        why = "it is not here (bertjob image list), or it has none"
        raise PreflightError(
            f"{wanted}: engine {name} tells no digest of it: {why}; --registry asks where it comes from"
        )
    click.echo(found)


@click.command("check")
@click.argument("ref", required=False)
@site_options
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

    from bertjob.cluster.images.engine import inspect

    where, name = site_and_engine(site, engine)
    wanted = named("REF", ref or ref_of(where), name, ENGINES[name].takes)
    image = Image(ref=wanted, overlay=overlay or (None if ref else where.image.overlay))
    facts = inspect(image, where, name, gpus)
    if as_json:
        said = {**msgspec.to_builtins(facts), "missing": facts.missing, "absent": facts.absent}
        click.echo(json.dumps(said, indent=2))
    else:
        from bertjob.cli.output import show
        from bertjob.cli.tables import facts_table

        show(facts_table(facts))
    if facts.missing:
        raise click.exceptions.Exit(1)


@click.group("image")
def verb() -> None:
    """Build, bring, check and name container images."""


for _command in (
    build_command,
    pull_command,
    load_command,
    list_command,
    digest_command,
    check_command,
    overlay_command,
):
    verb.add_command(_command)
