"""``bertjob port``: a script for another container engine."""

from pathlib import Path

import click

from bertjob.cli.streams import exact
from bertjob.cli.verbs.lint import read_script
from bertjob.errors import PreflightError, SpecError
from bertjob.text import counted, did_you_mean, reason


@click.command("port")
@click.argument("file", metavar="FILE.sbatch")
@click.option("--to", "engine", required=True, metavar="ENGINE", help="Container engine: apptainer, podman, pyxis, ...")
@click.option("-o", "--output", metavar="FILE", help="Write the script there (default: stdout).")
def verb(file: str, engine: str, output: str | None) -> None:
    """Rewrite the container commands of a script for another engine.

    It reads `sarus run`, `podman run`, `docker run`, `apptainer exec`, `shifter` and `ch-run`; all else in the script
    stays as it is, but bertjob's own check that the nodes have the engine. What cannot be carried over is said on
    stderr, line by line. FILE - is standard input.
    """
    from bertjob.launch.engines import containers
    from bertjob.port import port

    known = set(containers())
    if engine not in known:
        raise SpecError(f"--to: there is no engine {engine!r}: {did_you_mean(engine, known)}")
    try:
        ported = port(read_script(file), engine)
    except PreflightError as error:
        raise PreflightError(f"{file}: {error}") from None
    for note in ported.notes:
        click.echo(f"{file}:{note.line}: {note.text}", err=True)
    commands = counted(ported.commands, "command")
    click.echo(f"{commands} rewritten for {engine}", err=True)
    if output is None:
        exact(ported.text)
        return
    try:
        Path(output).write_bytes(ported.text.encode())
    except OSError as error:
        raise SpecError(f"{output}: {reason(error)}") from None
    click.echo(output)
