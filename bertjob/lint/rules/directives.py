"""Rules about the file itself and its #SBATCH lines."""

import posixpath
import re
from collections.abc import Iterator
from itertools import takewhile

from bertjob.lint import sbatch
from bertjob.lint.bash.header import length
from bertjob.lint.bash.sbatch_script import Script
from bertjob.lint.rules.finding import Found
from bertjob.lint.steps import starts
from bertjob.text import nearest

_SPACED = re.compile(r"#+[ \t]+SBATCH\s+-")


def no_shebang(script: Script) -> Iterator[Found]:
    """What sbatch does not take for a batch script."""
    if script.first_line == 1 and not script.lines[0].startswith("#!"):
        yield Found(1, "sbatch refuses a script whose first line does not begin with #!")


def other_language(script: Script) -> Iterator[Found]:
    """What is not for a shell to run, and not for the other rules to judge."""
    if script.language:
        line = min(length(script.lines) + 1, len(script.lines))
        yield Found(line, f"this is for {script.language}: only the #SBATCH lines above it are judged")


def late_directive(script: Script) -> Iterator[Found]:
    """#SBATCH where sbatch no longer reads."""
    for line in script.ignored:
        text = script.lines[line - 1]
        if text.startswith("#SBATCH"):
            yield Found(line, "sbatch stops reading #SBATCH at the first command and ignores this without a word")
        else:
            yield Found(line, "sbatch reads #SBATCH at the beginning of a line only and ignores this without a word")


def spaced_directive(script: Script) -> Iterator[Found]:
    """# SBATCH, which sbatch takes for a comment."""
    head = takewhile(lambda line: not line.strip() or line.startswith("#"), script.lines)
    for number, text in enumerate(head, start=1):
        if _SPACED.match(text):
            yield Found(number, "sbatch takes this for a comment: there is a blank between # and SBATCH")


def unknown_option(script: Script) -> Iterator[Found]:
    """Options that sbatch does not have."""
    for directive in script.directives:
        if directive.long is None:
            close = nearest(directive.name.lstrip("-"), sbatch.names()) if directive.name.startswith("--") else None
            hint = f"; did you mean --{close}?" if close else ""
            yield Found(directive.line, f"sbatch has no option {directive.name}{hint}")


def export_none(script: Script) -> Iterator[Found]:
    """--export=NONE reaches srun and mpirun as well."""
    export = script.option("export")
    if export is None or (export.value or "").upper() not in {"NONE", "NIL"}:
        return
    freed = "SLURM_EXPORT_ENV" in script.code or "--export" in script.code
    if not freed and any(starts(script)):
        yield Found(
            export.line, f"--export={export.value} also sets SLURM_EXPORT_ENV, so steps start with no environment"
        )


def log_is_lost(script: Script) -> Iterator[Found]:
    """A requeued job begins its log anew."""
    requeue = script.option("requeue")
    mode = script.option("open-mode")
    if requeue and not (mode and (mode.value or "").startswith("a")):
        yield Found(requeue.line, "each start of a requeued job empties the log of the one before")


def late_log_folder(script: Script) -> Iterator[Found]:
    """Slurm opens the log before the script can make its folder."""
    made = [word for command in script.named("mkdir") for word in command.arguments if not word.startswith("-")]
    for option in ("output", "error"):
        directive = script.option(option)
        folder = posixpath.dirname(directive.value or "") if directive else ""
        if directive and folder and any(_same(path, folder) for path in made):
            yield Found(
                directive.line,
                f"Slurm opens the log before this script makes {folder}; before 23.02 the log is then lost",
            )


def requeue_refused(script: Script) -> Iterator[Found]:
    """A requeue of a job that said it must not be."""
    refused = script.option("no-requeue")
    for command in script.named("scontrol"):
        if refused and "requeue" in command.arguments[:1]:
            yield Found(command.line, f"line {refused.line} says --no-requeue: Slurm refuses to requeue this job")


def _same(path: str, folder: str) -> bool:
    path, folder = posixpath.normpath(path), posixpath.normpath(folder)
    return path == folder or path.endswith("/" + folder)
