"""``bertjob image build`` and ``overlay``: make what jobs run in."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bertjob.cli.verbs.image.request import (
    carry_out,
    carry_out_order,
    dry_run_option,
    index_option,
    named,
    order_of,
    output_option,
    ref_of,
    say_what_is_gone,
    show_result,
    site_and_engine,
    site_options,
    wheels_option,
    yes_option,
)
from bertjob.errors import SpecError
from bertjob.launch.engines import ENGINES
from bertjob.launch.engines.images import commands

if TYPE_CHECKING:
    from bertjob.cluster.images.locks import Variant


@click.command("build", context_settings={"ignore_unknown_options": True})
@site_options
@click.option("--cpu", is_flag=True, help="The variant for CPUs, on a plain Python.")
@click.option("--base", metavar="REF", help="Build on this image in place of the one in container/image.env.")
@click.option("--tag", metavar="REF", help="Name of the image.")
@wheels_option
@index_option
@output_option
@click.option("--archive", metavar="FILE.tar", help="Leave a docker-archive as well, for `image load` elsewhere.")
@yes_option
@dry_run_option
@click.argument("builder_options", nargs=-1, type=click.UNPROCESSED, metavar="[-- BUILDER OPTIONS]")
def build_command(
    site: str | None,
    engine: str | None,
    cpu: bool,
    base: str | None,
    tag: str | None,
    wheels: Path | None,
    index: str | None,
    output: str | None,
    archive: str | None,
    yes: bool,
    dry_run: bool,
    builder_options: tuple[str, ...],
) -> None:
    """Build bertjob's image from its own sources.

    The last line of stdout is what `image.ref` of a job is then. Everything after -- goes to the builder as it is.
    """
    from bertjob.cluster.images import build, locks

    build.check_builder_options(builder_options)
    where, name = site_and_engine(site, engine)
    variant: Variant = "cpu" if cpu else "gpu"
    own = build.read_recipe()
    if base is not None:
        named("--base", base, name)
    if tag is not None:
        named("--tag", tag, name)
    arguments = build.arguments(variant, base or own.bases[variant].pinned, wheels is not None, index or "")
    with build.context(wheels, locks.VARIANTS[variant], printed=dry_run) as folder:
        order = order_of(
            name,
            ref=tag or own.ref(variant),
            output=output,
            archive=str(Path(archive).absolute()) if archive else "",
            context=str(folder),
            arguments=arguments,
            extra=builder_options,
        )
        commands(name, "build", order)  # refuses, where there is no such verb, before anything is said
        if base is None and not own.bases[variant].digest:
            click.echo(f"warning: base {own.bases[variant].ref} is not pinned: bertjob image digest --pin", err=True)
        carry_out_order(name, "build", order, where, yes=yes, dry_run=dry_run)
    show_result(name, order, dry_run)
    say_what_is_gone(dry_run and not build.stays(wheels))


@click.command("overlay", context_settings={"ignore_unknown_options": True})
@site_options
@click.option("--path", metavar="DIR", help="Folder of the environment (default: image.overlay of the site).")
@click.option("--image", "ref", metavar="REF", help="Image that it is made in (default: the site's).")
@wheels_option
@index_option
@dry_run_option
@click.argument("packages", nargs=-1, type=click.UNPROCESSED, metavar="[-- PACKAGES]")
def overlay_command(
    site: str | None,
    engine: str | None,
    path: str | None,
    ref: str | None,
    wheels: Path | None,
    index: str | None,
    dry_run: bool,
    packages: tuple[str, ...],
) -> None:
    """Make a virtual environment with what an image lacks, inside of it.

    It holds bertjob, its packages, and after -- whatever pip shall install besides. Name it in the job or the site as
    `image.overlay`; it is the last line of stdout.
    """
    from bertjob.cluster.images import build
    from bertjob.cluster.images.build import overlay_commands
    from bertjob.cluster.images.exec import overlay_folder
    from bertjob.cluster.images.image_files import new_folder

    where, name = site_and_engine(site, engine)
    folder = path or where.image.overlay
    if folder is None:
        raise SpecError(f"site {where.name} names no image.overlay: say --path")
    wanted = named("--image", ref or ref_of(where), name, ENGINES[name].takes)
    mirror = index or os.environ.get("PIP_INDEX_URL", "")
    with overlay_commands(name, wanted, folder, where, packages, wheels, mirror, printed=dry_run) as sequence:
        if dry_run:
            carry_out(sequence, where, dry_run)
        else:
            with new_folder(overlay_folder(folder, where)) as guard:
                carry_out(sequence, where, dry_run, ENGINES[name].inherits, guard.watch)
    say_what_is_gone(dry_run and not (build.stays(wheels, mirror) and ENGINES[name].file is None))
    if not dry_run:
        click.echo(folder)
