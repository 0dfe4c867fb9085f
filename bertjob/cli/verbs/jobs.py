"""``bertjob jobs``: the jobs there are, or one with the origin of each value."""

import json
import os
from pathlib import Path
from typing import Any

import click
import msgspec

from bertjob.cli.options import JobIsOptional, Request, job_options, json_option
from bertjob.cli.output import show_names
from bertjob.cluster.host.here import here, working_directory
from bertjob.config.home import home
from bertjob.config.job import Job
from bertjob.config.load import Sourced, load_job
from bertjob.config.reference import keys
from bertjob.config.search import shipped_folder
from bertjob.config.secret_values import masked, masked_text
from bertjob.config.yaml import Origin
from bertjob.launch.resolve import resolve


@click.command("jobs", cls=JobIsOptional)
@job_options(default_site="local")
@json_option
def verb(request: Request, as_json: bool) -> None:
    """List the jobs, or show one with the origin of each value."""
    if not request.job:
        show_names("job", lambda name: load_job(name).value.description, as_json)
        return
    loaded = request.load()
    job, site = loaded.job, loaded.site
    paths = [key.path for key in keys("job") if key.path != "base"]
    as_said = msgspec.structs.replace(here(), run=lambda name: f"run:{name}")  # there may be no such run yet
    whole = resolve(job.value, site.value, as_said)
    rows = [(path, masked(_at(whole, path), path), _origin(path, job, whole, site.value.name)) for path in paths]
    if as_json:
        click.echo(
            json.dumps(
                {path: {"value": value, "from": masked_text(str(origin))} for path, value, origin in rows}, indent=2
            )
        )
    else:
        from bertjob.cli.output import out, show
        from bertjob.cli.tables import origins_table

        show(origins_table([(path, value, _short(origin)) for path, value, origin in rows], out().width))


def _origin(path: str, job: Sourced[Job], whole: Job, site: str) -> Origin:
    """Where a key was said, or the first one of those that it holds; else who filled it in."""
    said = job.origins.get(path) or next((at for key, at in job.origins.items() if key.startswith(f"{path}.")), None)
    if said is not None:
        return said
    return Origin("default" if _at(whole, path) == _at(job.value, path) else f"site {site}")


def _short(origin: Origin) -> str:
    """An origin for people: an option without its value, a file of bertjob's by its folder and name, others from here.

    Files that are not below the working directory are told from the home directory, or whole.
    """
    if origin.line is None:
        return origin.source.partition(" ")[0] if origin.source.startswith("--") else origin.source
    path = Path(os.path.abspath(origin.source))  # noqa: PTH100  # resolve() would follow links
    shipped = shipped_folder("job")
    for folder, start in ((shipped, f"{shipped.name}/"), (working_directory(), ""), (home(), "~/")):
        if path.is_relative_to(folder):
            return f"{start}{path.relative_to(folder)}:{origin.line}"
    return f"{path}:{origin.line}"


def _at(value: Any, path: str) -> Any:
    for part in path.split("."):
        value = getattr(value, part)
    return msgspec.to_builtins(value)
