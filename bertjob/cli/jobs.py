"""``bertjob jobs``: the jobs there are, or one with the origin of each value."""

import json
from typing import Any

import click
import msgspec

from bertjob.cli.listing import show_names
from bertjob.cli.options import JobIsOptional, Request, job_options, json_option
from bertjob.cluster.machine import here
from bertjob.launch.resolve import resolve
from bertjob.spec.keys import keys
from bertjob.spec.load import load_job


@click.command("jobs", cls=JobIsOptional)
@job_options(default_site="local")
@json_option
def verb(request: Request, as_json: bool) -> None:
    """List the jobs, or show one with the origin of each value."""
    if not request.job:
        show_names("job", lambda name: load_job(name).value.description, as_json)
        return
    job, site = request.load()
    whole = resolve(job.value, site.value, here())
    rows = []
    for path in (key.path for key in keys("job") if key.path != "base"):
        value = _at(whole, path)
        by_site = value != _at(job.value, path) and path not in job.origins
        rows.append((path, value, f"site {site.value.name}" if by_site else str(job.origins.get(path, "default"))))
    if as_json:
        click.echo(json.dumps({path: {"value": value, "from": origin} for path, value, origin in rows}, indent=2))
    else:
        from bertjob.cli.console import show
        from bertjob.cli.views import origins_table

        show(origins_table(rows))


def _at(value: Any, path: str) -> Any:
    for part in path.split("."):
        value = getattr(value, part)
    return msgspec.to_builtins(value)
