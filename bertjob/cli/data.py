"""``bertjob data``: bring data sets, or say what a file holds."""

import json
import sys
from pathlib import Path

import click

from bertjob.cli.options import json_option


@click.group("data")
def verb() -> None:
    """Fetch data, or say what is in a file."""


@verb.command("fetch")
@click.argument("name", metavar="NAME")
@click.option("--to", default="data", show_default=True, metavar="DIR", help="Folder for the files.")
def fetch_command(name: str, to: str) -> None:
    """Download the official files of a data set (squad) and check their sha256.

    Files that are there and right are kept. Compute nodes have no network: run this on a login node.
    """
    from bertjob.cluster.fetch import fetch

    def show(file: str, done: int, total: int) -> None:
        if sys.stderr.isatty():
            end = "\n" if done >= total else ""
            print(f"\r{file} {done / 1e6:.1f} of {total / 1e6:.1f} MB", end=end, file=sys.stderr, flush=True)

    for path in fetch(name, Path(to), show):
        click.echo(str(path))


@verb.command("info")
@click.argument("file", metavar="FILE.json")
@json_option
def info_command(file: str, as_json: bool) -> None:
    """Say what a SQuAD file holds: articles, paragraphs, questions, answers, lengths.

    `demo` is the training part of the set that bertjob makes itself.
    """
    from bertjob.train.squad.files import describe, load

    facts = describe(load(file, "train"))
    if as_json:
        click.echo(json.dumps(facts))
    else:
        for name, value in facts.items():
            click.echo(f"{name.replace('_', ' '):<32} {value:>12,}")
