"""``bertjob sites``: the sites there are, or one as YAML."""

import json

import click
import msgspec

from bertjob.cli.listing import show_names
from bertjob.cli.options import Names, json_option
from bertjob.spec.load import dump, load_site
from bertjob.spec.shipped import find


@click.command("sites")
@click.argument("name", required=False, type=Names("site"))
@json_option
def verb(name: str | None, as_json: bool) -> None:
    """List the sites, or show one."""
    if name:
        site = load_site(name).value
        click.echo(json.dumps(msgspec.to_builtins(site), indent=2) if as_json else dump(site), nl=as_json)
        click.echo(f"from {find('site', name)}", err=True)
        return
    show_names("site", lambda path: load_site(path).value.description, as_json)
