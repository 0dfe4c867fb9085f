"""``bertjob schema``: the JSON Schema of job and site files, for editors."""

import json

import click

from bertjob.config.reference import schema


@click.command("schema")
@click.argument("kind", type=click.Choice(["job", "site"]))
def verb(kind: str) -> None:
    """Print the JSON Schema of job or site files.

    In an editor with a YAML language server, begin a file with
    `# yaml-language-server: $schema=job.schema.json` to get completion and checks.
    """
    click.echo(json.dumps(schema("job" if kind == "job" else "site"), indent=2))
