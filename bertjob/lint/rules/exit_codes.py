"""Rules about signals, traps and exit codes."""

import re
from collections.abc import Iterator

from bertjob.lint.bash.sbatch_script import Script
from bertjob.lint.rules.finding import Found
from bertjob.lint.steps import Start, each, layered, runs_unseen, starts, works

_SIGNAL = re.compile(r"(?:([RB]+):)?(\w+)(?:@\d+)?", re.IGNORECASE)
_TO_ITSELF = re.compile(r"\bkill\b[^\n;|&]*\$(?:\$|\{?BASHPID)|\bscancel\b")
_BRIEF = frozenset(
    {
        *(
            "trap",
            "let",
            "read",
            "kill",
            "scancel",
            "disown",
            "shift",
            "return",
            "local",
            "declare",
            "readonly",
            "eval",
        ),
        *(
            "break",
            "continue",
            "shopt",
            "type",
            "mapfile",
            "readarray",
            "getopts",
            "pushd",
            "popd",
            "hash",
            "alias",
            "ml",
        ),
        *("awk", "grep", "cut", "sort", "head", "tail", "find", "seq", "tee", "bc", "basename", "dirname", "squeue"),
    }
)
"""Builtins and programs that are soon over."""
_NUMBERS = {"1": "HUP", "2": "INT", "3": "QUIT", "10": "USR1", "12": "USR2", "15": "TERM"}


def signal_to_nobody(script: Script) -> Iterator[Found]:
    """--signal that no one hears."""
    asked = script.option("signal")
    read = _SIGNAL.fullmatch(asked.value or "") if asked else None
    if asked is None or read is None:
        return
    signal, shell = _name(read[2]), "B" in (read[1] or "").upper()
    traps = _traps(script)
    work = list(works(script))
    if script.language or (signal not in traps and runs_unseen(script)):
        return
    if shell:
        if signal not in traps and not any(start.replaces_the_shell for start in work):
            yield Found(asked.line, f"B: sends {signal} to this shell alone, which has no trap for it and ends")
    elif signal in traps:
        yield Found(asked.line, f"without B: {signal} goes to steps only; the trap of line {traps[signal]} never runs")
    elif not any(start.srun for start in layered(script)):
        daemons = any(start.mpirun for start in starts(script))
        why = "mpirun's daemons are the only step, and they keep it" if daemons else "there is no srun step here"
        yield Found(asked.line, f"without B: {signal} goes to steps only, and {why}")


def trap_without_signal(script: Script) -> Iterator[Found]:
    """A trap for a signal that Slurm is not asked for."""
    if not script.directives or script.option("signal") or _TO_ITSELF.search(script.code):
        return
    for signal, line in _traps(script).items():
        if signal in {"USR1", "USR2"}:
            yield Found(line, f"no #SBATCH --signal asks for {signal}: at the time limit Slurm sends TERM, then KILL")


def foreground_launcher(script: Script) -> Iterator[Found]:
    """A trap that bash runs when it is too late."""
    asked = script.option("signal")
    read = _SIGNAL.fullmatch(asked.value or "") if asked else None
    named = {_name(read[2])} if read and "B" in (read[1] or "").upper() else set()
    caught = {signal: line for signal, line in _traps(script).items() if signal in named | {"USR1", "USR2"}}
    for start in works(script):
        for signal, line in caught.items():
            if line < start.line and not (start.command.place.background or start.replaces_the_shell):
                yield Found(
                    start.line, f"bash runs the trap of line {line} for {signal} only after this command has ended"
                )
                break


def no_wait(script: Script) -> Iterator[Found]:
    """A launcher in the background that nobody waits for, with no work in the foreground after it."""
    waits = any(script.named("wait", "fg")) or "--pid" in script.code or "kill -0" in script.code
    held_until = max((_begin(start) for start in each(script) if _holds(start)), default=0)
    for start in starts(script):
        if start.command.place.background and not waits and _begin(start) > held_until:
            yield Found(start.line, "the script ends at once, and Slurm ends its steps with it")


def lost_exit_code(script: Script) -> Iterator[Found]:
    """A failed training in a job that Slurm calls COMPLETED."""
    outside = [start for start in works(script) if not start.command.place.function]
    if "PIPESTATUS" in script.code or "$?" in script.code:
        return
    pipefail = _sets(script, "pipefail")
    for start in outside:
        if start.command.place.piped and not pipefail:
            yield Found(start.line, "the exit code of a pipeline is that of its last command: a failure here is lost")
    waits = [command for command in script.named("wait") if not command.arguments]
    if any(start.command.place.background for start in outside):
        if waits and not any(command.arguments for command in script.named("wait")):
            yield Found(waits[-1].line, "wait without a process id gives 0 whatever became of the process")
        return
    if outside and not _sets(script, "errexit"):
        yield from _covered(script, outside[-1])


def _begin(start: Start) -> int:
    return start.command.words[0].start


def _holds(start: Start) -> bool:
    """Whether a command may run for long in the foreground of the script."""
    command = start.command
    if command.place.background or command.place.substituted or command.place.function:
        return False
    for_ever = command.name == "sleep" and command.arguments[:1] in {("infinity",), ("inf",)}
    return for_ever or not (start.small or command.name in _BRIEF)


def _covered(script: Script, last: Start) -> Iterator[Found]:
    """Whether another command gives the exit code of the script after its last work."""
    place = last.command.place
    after = [command for command in script.commands if command.words[0].start > last.command.words[-1].end]
    after = [command for command in after if not (command.place.function or command.place.substituted)]
    if after and not (place.piped or place.tested or place.looped):
        yield Found(after[-1].line, f"the script's exit code is that of {after[-1].name}, not of line {last.line}")


def _sets(script: Script, option: str) -> bool:
    letter = {"errexit": "e"}.get(option)
    words = [word for command in script.named("set") for word in command.arguments]
    words += script.lines[0].split()[1:] if script.lines[0].startswith("#!") else []
    short = letter is not None and any(re.fullmatch(rf"-[a-zA-Z]*{letter}[a-zA-Z]*", word) for word in words)
    return option in words or short


def _traps(script: Script) -> dict[str, int]:
    """The signals that this shell handles, with the lines of their traps; ``trap ''`` and ``trap -`` handle none."""
    return {
        _name(signal): command.line
        for command in script.named("trap")
        if command.arguments and command.arguments[0] not in {"", "-", "-p", "-l"}
        for signal in command.arguments[1:]
    }


def _name(signal: str) -> str:
    return _NUMBERS.get(signal, signal.upper().removeprefix("SIG"))
