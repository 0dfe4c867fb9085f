"""``bertjob lint``: what a job script shows beforehand of its failures."""

import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from bertjob.cli.options import json_option
from bertjob.config.bounded import SMALL, open_file, read_stream
from bertjob.errors import SpecError
from bertjob.text import counted, reason

if TYPE_CHECKING:
    from rich.text import Text

    from bertjob.lint.rules.finding import Finding

_COLOURS = {"error": "bold red", "warning": "yellow"}


@click.command("lint")
@click.argument("files", nargs=-1, metavar="FILE.sbatch...")
@click.option("--rules", "list_rules", is_flag=True, help="List the rules.")
@json_option
@click.pass_context
def verb(ctx: click.Context, files: tuple[str, ...], list_rules: bool, as_json: bool) -> None:
    """Find what will fail in job scripts of any origin.

    No Slurm is needed; - is standard input. Exit code 1 if there are errors. A comment `# bertjob: ignore=RULE` at the
    end of a line, or in the line above, silences a rule there.
    """
    from bertjob.lint.rules import RULES, check

    if list_rules:
        _show_rules(as_json)
        return
    if not files:
        raise click.UsageError("a script is wanted: bertjob lint FILE.sbatch", ctx)
    found = {file: check(read_script(file)) for file in files}
    errors = sum(finding.severity == "error" for findings in found.values() for finding in findings)
    warnings = sum(map(len, found.values())) - errors
    if as_json:
        listed = [{"file": file} | msgspec.to_builtins(one) for file, findings in found.items() for one in findings]
        click.echo(json.dumps(listed, indent=2))
    elif errors or warnings:
        from bertjob.cli.output import show

        for file, findings in found.items():
            for finding in findings:
                show(_line(file, finding))
    read = f"{len(RULES)} rules, {counted(len(files), 'script')}"
    click.echo(f"{read}: {counted(errors, 'error')}, {counted(warnings, 'warning')}", err=True)
    ctx.exit(1 if errors else 0)


def read_script(file: str) -> str:
    """The text of a script; ``-`` is standard input.

    Raises:
        SpecError: there is no such file, or it is not text.
    """
    try:
        stdin = file == "-"
        with contextlib.nullcontext(sys.stdin.buffer) if stdin else open_file(Path(file)) as script:
            return read_stream(script, SMALL, file).decode()
    except OSError as error:
        raise SpecError(f"{file}: {reason(error)}") from None
    except UnicodeDecodeError as error:
        raise SpecError(f"{file}: not text in UTF-8 at byte {error.start}") from None


def _line(file: str, finding: "Finding") -> "Text":
    from rich.text import Text

    kind = (finding.severity, _COLOURS[finding.severity])
    place, name = (f"{file}:{finding.line}", "bold"), (finding.rule, "cyan")
    return Text.assemble(place, ": ", kind, " ", name, f": {finding.reason}; ", (finding.remedy, "dim"))


def _show_rules(as_json: bool) -> None:
    from bertjob.lint.rules import RULES

    if as_json:
        keys = ("name", "severity", "what", "remedy")
        click.echo(json.dumps([{key: getattr(rule, key) for key in keys} for rule in RULES], indent=2))
        return
    from rich.table import Table
    from rich.text import Text

    from bertjob.cli.output import show

    table = Table.grid(padding=(0, 2, 0, 0))
    for rule in RULES:
        said = Text.assemble(f"{rule.what}; ", (rule.remedy, "dim"))
        table.add_row(Text(rule.name, "cyan"), Text(rule.severity, _COLOURS[rule.severity]), said)
    show(table)
