"""``bertjob jobs``: the jobs there are, or one with the origin of each value."""

import json
from typing import Any

import click
import msgspec

from bertjob.cli.options import Request, job_options, json_option
from bertjob.spec.keys import keys
from bertjob.spec.load import load_job
from bertjob.spec.shipped import names


class _NameIsOptional(click.Command):
    """The shared options ask for a job; here none means: list them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for parameter in self.params:
            if isinstance(parameter, click.Argument):
                parameter.required = False


@click.command("jobs", cls=_NameIsOptional)
@job_options(default_site="local")
@json_option
def verb(request: Request, as_json: bool) -> None:
    """List the jobs, or show one with the origin of each value."""
    if not request.job:
        _list(as_json)
        return
    loaded = request.load()[0]
    rows = [
        (key.path, _at(loaded.value, key.path), str(loaded.origins.get(key.path, "default")))
        for key in keys("job")
        if key.path != "base"
    ]
    if as_json:
        click.echo(json.dumps({path: {"value": value, "from": origin} for path, value, origin in rows}, indent=2))
    else:
        from bertjob.cli.console import out
        from bertjob.cli.views import origins_table

        out.print(origins_table(rows))


def _list(as_json: bool) -> None:
    described = {name: load_job(str(path)).value.description for name, path in names("job").items()}
    if as_json:
        click.echo(json.dumps(described, indent=2))
    else:
        from bertjob.cli.console import out
        from bertjob.cli.views import names_table

        out.print(names_table(described))


def _at(value: Any, path: str) -> Any:
    for part in path.split("."):
        value = getattr(value, part)
    return msgspec.to_builtins(value)
