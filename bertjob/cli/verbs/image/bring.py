"""``bertjob image pull`` and ``load``: bring images to where an engine finds them."""

from pathlib import Path

import click

from bertjob.cli.verbs.image.request import (
    carry_out,
    dry_run_option,
    named,
    order_of,
    output_option,
    ref_of,
    show_result,
    site_and_engine,
    site_options,
)
from bertjob.errors import SpecError
from bertjob.launch.engines.images import commands, pulled
from bertjob.launch.engines.references import PATH


@click.command("pull")
@click.argument("ref", required=False)
@site_options
@output_option
@dry_run_option
def pull_command(ref: str | None, site: str | None, engine: str | None, output: str | None, dry_run: bool) -> None:
    """Bring an image from a registry (default: the site's).

    The last line of stdout is what `image.ref` of a job is then.
    """
    where, name = site_and_engine(site, engine)
    wanted = ref or ref_of(where)
    if ref is None and PATH.fullmatch(wanted):
        told = "which nothing can pull: name a reference; -o says where it goes"
        raise SpecError(f"site {where.name}'s image is the file {wanted}, {told}")
    order = order_of(name, ref=named("REF", wanted, name, pulled(name)), output=output)
    carry_out(commands(name, "pull", order), where, dry_run)
    show_result(name, order, dry_run)


@click.command("load")
@click.argument("archive", metavar="FILE.tar", type=click.Path(path_type=Path))
@click.argument("ref", required=False)
@site_options
@output_option
@dry_run_option
def load_command(
    archive: Path, ref: str | None, site: str | None, engine: str | None, output: str | None, dry_run: bool
) -> None:
    """Bring an image from a docker-archive, as `image build --archive` leaves it.

    REF is its name (default: the one in the archive). The last line of stdout is what `image.ref` of a job is
    then.
    """
    from bertjob.cluster.images.build import read_recipe
    from bertjob.cluster.images.engine import check_archive

    where, name = site_and_engine(site, engine)
    if ref is not None:
        named("REF", ref, name)
    own = check_archive(archive)
    called = ref or (own or read_recipe().ref("gpu")).removeprefix("localhost/")
    order = order_of(name, ref=called, output=output, archive=str(archive.absolute()), archived=own)
    carry_out(commands(name, "load", order), where, dry_run)
    show_result(name, order, dry_run)
