"""The command ``bertjob``: verbs that load when they are called, errors in one line, the field's exit codes."""

import errno
import sys
from importlib import import_module
from typing import NoReturn

import click

from bertjob.cli import streams
from bertjob.cli.terminal import stay_sane
from bertjob.cli.verbs import ACTS, VERBS
from bertjob.errors import BertjobError
from bertjob.text import did_you_mean, reason, visible_line
from bertjob.version import __version__

_NO_ARGUMENTS: tuple[type[click.UsageError], ...] = tuple(
    filter(None, [getattr(click.exceptions, "NoArgsIsHelpError", None)])  # since click 8.2; before, click printed it
)


class Verbs(click.Group):
    """A group that imports a verb's module when the verb is called: --help stays as quick as an import of click."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command = import_module(f"bertjob.cli.verbs.{cmd_name}").verb
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            raise click.UsageError(f"there is no verb {args[0]!r}: {did_you_mean(args[0], VERBS)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


@click.group(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="bertjob VERB --help says more. Exit codes: 0 done, 1 failed, 2 usage, 3 a check refused, 4 the scheduler,"
    " 5 still pending.",
)
@click.version_option(__version__, prog_name="bertjob")
def cli() -> None:
    """BERT training jobs in containers on HPC clusters."""


def main() -> NoReturn:
    """Run the command line; every failure is one line on stderr and an exit code."""
    stay_sane()
    with streams.opened():
        sys.exit(_told(_run()))


def _told(code: int) -> int:
    """The exit code, where what was printed may be lost: that of the work, unless all the work was to print.

    Whoever closes stdout, or stops reading, does not want the rest. A full disk is another matter.
    """
    sys.stdout.flush()
    lost = streams.failure()
    if lost is None or lost.errno in (errno.EBADF, errno.EPIPE):
        return code
    verb = next((word for word in sys.argv[1:] if word in VERBS), "")
    _fail(f"stdout: what was printed is lost: {reason(lost)}", 1)
    return code if verb in ACTS and "--dry-run" not in sys.argv else code or 1


def _run() -> int:
    try:
        code: int = cli.main(standalone_mode=False)
    except BertjobError as error:
        code = _fail(str(error), error.exit_code)
    except _NO_ARGUMENTS as error:  # click's way to show the help
        click.echo(error.format_message(), err=True)
        code = 2
    except click.UsageError as error:
        where = f" (see {error.ctx.command_path} --help)" if error.ctx else ""
        code = _fail(_one_line(error).rstrip(".") + where, 2)
    except click.ClickException as error:
        code = _fail(_one_line(error), 2)
    except (click.Abort, KeyboardInterrupt):
        code = _fail("interrupted", 130)
    except (OSError, UnicodeError) as error:  # a full disk, a folder that is gone, a name that is no text
        code = _fail(_one_line(error), 1)
    return code


def _one_line(error: OSError | UnicodeError | click.ClickException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {reason(error)}" if error.filename else reason(error)
    text = error.format_message() if isinstance(error, click.ClickException) else str(error)
    return " ".join(text.split())


def _fail(message: str, code: int) -> int:
    print(f"bertjob: {visible_line(message)}", file=sys.stderr)  # a message may quote what was typed
    return code
