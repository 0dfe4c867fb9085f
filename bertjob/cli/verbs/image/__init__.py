"""``bertjob image``: build, bring, check and name container images by the engine of a site."""

import click

from bertjob.cli.verbs.image.bring import load_command, pull_command
from bertjob.cli.verbs.image.build import build_command, overlay_command
from bertjob.cli.verbs.image.look import check_command, digest_command, list_command


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
