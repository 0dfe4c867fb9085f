"""``bertjob sites``: the sites there are, one as YAML, or a new one from what Slurm says of itself."""

import json
import shlex
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from bertjob.cli.options import Names, json_option
from bertjob.cli.output import show_names
from bertjob.config.job import Name
from bertjob.config.load import dump, load_site
from bertjob.config.search import find, user_folder
from bertjob.config.site import Site
from bertjob.config.validate import wanted
from bertjob.errors import PreflightError, SchedulerError, SpecError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class _NameOrNew(click.Group):
    """A group in which everything that is no command is the name of a site to show."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] in self.commands:
            return super().resolve_command(ctx, args)
        return "show", _show, args

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        names = Names("site").shell_complete(ctx, self.params[0], incomplete)
        return [*super().shell_complete(ctx, incomplete), *names]


@click.group(
    "sites", cls=_NameOrNew, invoke_without_command=True, subcommand_metavar="[NAME] | new [NAME] [-o FILE] [--force]"
)
@json_option
@click.pass_context
def verb(ctx: click.Context, as_json: bool) -> None:
    """List the sites, or show one.

    `bertjob sites new` writes a site file from what the Slurm of this login node says of itself.
    """
    if ctx.invoked_subcommand is None:
        show_names("site", lambda path: load_site(path).value.description, as_json)


@click.command("show")
@click.argument("name", type=Names("site"))
@json_option
@click.pass_context
def _show(ctx: click.Context, name: str, as_json: bool) -> None:
    """Show a site as YAML."""
    site = load_site(name).value
    if as_json or (ctx.parent is not None and ctx.parent.params["as_json"]):
        click.echo(json.dumps(msgspec.to_builtins(site), indent=2))
    else:
        click.echo(dump(site), nl=False)
    click.echo(f"from {find('site', name)}", err=True)


@verb.command("new")
@click.argument("name", required=False)
@click.option("-o", "--output", metavar="FILE", help="Where to write it (default: your own folder of sites).")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
def new_command(name: str | None, output: str | None, force: bool) -> None:
    """Write a site file from what Slurm and this login node say of themselves.

    The last line of stdout is the file. NAME is the cluster's own unless it is said.
    """
    from bertjob.cluster import host
    from bertjob.cluster.new_site import site_file, site_name

    if name is not None:
        _check_name(name)
    machine = host.look(Site(name=name or "new"), {})
    if machine.scheduler.error:
        raise SchedulerError(f"{machine.scheduler.error}: a site file is made from Slurm's answers, on a login node")
    name = name or site_name(machine.scheduler.cluster)
    path = Path(output) if output else user_folder("site") / f"{name}.yaml"
    called = shlex.quote(str(path)) if output else name
    text = site_file(name, called, machine, socket.gethostname(), time.strftime("%Y-%m-%d"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise PreflightError(f"{path}: is there already; --force writes over it, -o FILE writes elsewhere") from None
    click.echo(str(path))


def _check_name(name: str) -> None:
    """What no site file may have for its name is not written into one, nor taken for a path."""
    try:
        msgspec.convert(name, Name)
    except msgspec.ValidationError:
        raise SpecError(
            f"NAME: {wanted(Name, name)} is wanted, got {name!r}; -o FILE says where the file goes"
        ) from None
