"""Rewrites the container commands of a script."""

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

import msgspec

from bertjob.errors import PreflightError
from bertjob.launch.container import presence
from bertjob.launch.engines import ENGINES
from bertjob.launch.engines.limits import problem_of_path
from bertjob.launch.engines.references import problem
from bertjob.launch.schedulers import SCHEDULERS
from bertjob.lint.bash.commands import Layer
from bertjob.lint.bash.parse import parse
from bertjob.lint.bash.sbatch_script import Script
from bertjob.lint.steps import Start, each
from bertjob.port import recognize
from bertjob.port.notes import Note, notes_on_command, notes_on_script, one_of_a_kind
from bertjob.port.recognize import Told, read
from bertjob.port.render import Job, constant_image, expansions, file_name, write

_WIDTH = 112
_HETEROGENEOUS = "this is a heterogeneous job, whose components differ: make a script of each, and port those"


class Ported(msgspec.Struct, frozen=True):
    """A script for another engine.

    Attributes:
        text: all of it.
        commands: how many were rewritten.
        notes: what could not be carried over, and what must be looked at, by line of the old script.
    """

    text: str
    commands: int
    notes: tuple[Note, ...]


class _Edit(NamedTuple):
    start: int
    end: int
    text: str


def port(text: str, engine: str) -> Ported:
    """The script with each container command in the words of another engine.

    Args:
        text: the script.
        engine: name of a row of `ENGINES`.

    Raises:
        PreflightError: a command cannot be read or expressed; says the line.
    """
    if "\r" in text:
        raise PreflightError("line 1: the script has DOS line ends: run dos2unix on it first")
    script = parse(text)
    if script.language:
        raise PreflightError(f"line 1: this is a script for {script.language}, and only those for bash can be read")
    if script.wrong_at is not None:
        raise PreflightError(f"line {script.wrong_at}: this cannot be read as bash")
    for directive in script.directives:
        if directive.long == "hetjob":
            raise PreflightError(f"line {directive.line}: {_HETEROGENEOUS}")
    source, job, row = text.encode(errors="replace"), _job(script), ENGINES[engine]
    edits: list[_Edit] = []
    containers = list(_containers(script, engine))
    for start, layer in containers:
        if start.srun is not None and any(word.value == ":" for word in (*layer.words, *start.program)):
            raise PreflightError(f"line {start.line}: {_HETEROGENEOUS}")
    checks = [*_checks(source, dict.fromkeys(layer.engine for _, layer in containers), engine)]
    edits += checks
    notes = [*notes_on_script(script, engine, [(check.start, check.end) for check in checks])]
    files: dict[str, str] = {}
    for number, (start, layer) in enumerate(containers):
        told = read(layer, start.program, script)
        told = msgspec.structs.replace(told, gpus=told.gpus or recognize.gpu_vendor(script, start))
        _check(told, engine, start.line, constant_image(told, job))
        written = write(told, engine, job)
        notes += notes_on_command(script, start, told, engine, job)
        before = _line_before(script, source, layer.words[0].start)
        words = written.words
        if written.file is not None and row.file is not None:
            if written.file not in files:
                files[written.file] = file_name(row.file.name, len(files))
                path = f'"$SLURM_SUBMIT_DIR/{files[written.file]}"'
                edits.append(_Edit(before, before, f"cat > {path} << 'END_OF_FILE'\n{written.file}\nEND_OF_FILE\n"))
            words = tuple(word.replace(row.file.name, files[written.file]) for word in words)
        if row.setup and not number:
            edits.append(_Edit(before, before, f"{row.setup}\n"))
        edits += _edits(start, layer, words, written.inside, engine, source)
    return Ported(_edited(source, edits), len(containers), one_of_a_kind(notes))


def _containers(script: Script, engine: str) -> Iterator[tuple[Start, Layer]]:
    """The commands of the script itself that start another engine; those inside its strings stay."""
    for start in each(script):
        layer = next(iter(start.engines), None)
        if layer and layer.engine != engine:
            yield start, layer


def _checks(source: bytes, olds: Iterable[str], engine: str) -> Iterator[_Edit]:
    """The lines by which bertjob ends a script where a node lacks the old engine, which may well be so now."""
    for old in olds:
        for scheduler in SCHEDULERS.values():
            lines = presence(old, scheduler).encode()
            at = source.find(lines)
            if at >= 0:
                yield _Edit(at, at + len(lines), presence(engine, scheduler))


def _job(script: Script) -> Job:
    exported = dict.fromkeys(assignment.name for assignment in script.assignments if assignment.exported)
    times = [assignment.name for assignment in script.assignments]
    constants = {
        assignment.name: assignment.value.value
        for assignment in script.assignments
        if assignment.value and assignment.value.literal and times.count(assignment.name) == 1
    }
    return Job(tuple(filter(None, exported)), constants)


def _check(told: Told, engine: str, line: int, constant: str) -> None:
    row = ENGINES[engine]
    image = told.image.value if told.image.literal else constant
    if image and (wrong := problem(image, engine, row.takes)):
        raise PreflightError(f"line {line}: image {image!r} {wrong}")
    for word in (word for bind in told.binds for word in (bind.source, bind.target)):
        if wrong := problem_of_path("".join(part for part in word.parts if isinstance(part, str)), engine):
            raise PreflightError(f"line {line}: {word.value!r}: {wrong}")
    for part in expansions(told) if row.file else ():
        if not re.fullmatch(r"\$(?:\w+|\{\w+\})", part.source):
            shown = " ".join(part.source.split())
            raise PreflightError(
                f"line {line}: the file of {engine} cannot hold {shown}: export a variable of it first"
            )


def _edits(
    start: Start, layer: Layer, words: tuple[str, ...], inside: tuple[str, ...], engine: str, source: bytes
) -> Iterator[_Edit]:
    """The new words in the place of the engine's, or behind the options of srun for an engine that is part of it."""
    begin, end = layer.words[0].start, layer.words[-1].end
    if ENGINES[engine].started_by_srun:
        srun = start.srun
        if srun is None:
            by = start.launcher.name if start.launcher else "the shell"
            raise PreflightError(f"line {start.line}: {engine} is a part of srun, and this command is started by {by}")
        after = srun.words[-1].end
        if source[after:begin].strip(b" \t\\\n"):  # something stands between them, e.g. numactl
            yield _Edit(after, after, " " + " ".join(words))
            yield _Edit(begin, end if inside else _next_word(source, end), " ".join(inside))
            return
    yield _Edit(begin, end, _folded((*words, *inside), source[begin:end].decode()))


def _next_word(source: bytes, end: int) -> int:
    return end + len(source[end:]) - len(source[end:].lstrip(b" \t\\\n"))


def _folded(words: tuple[str, ...], old: str) -> str:
    """The words on one line, or on several where the old ones were or the line would be long."""
    line = " ".join(words)
    if "\n" not in old and len(line) <= _WIDTH:
        return line
    continued = old.partition("\n")[2]
    indent = continued[: len(continued) - len(continued.lstrip(" \t"))] or "    "
    lines = [words[0]]
    for before, word in pairwise(words):
        value = before.startswith("--") and "=" not in before and not word.startswith("--")
        if not value and len(indent) + len(lines[-1]) + len(word) >= _WIDTH:
            lines.append(word)
        else:
            lines[-1] += f" {word}"
    return f" \\\n{indent}".join(lines)


def _line_before(script: Script, source: bytes, at: int) -> int:
    """Where lines may be put in before a byte: at the beginning of a line that no outer statement goes over."""
    line = source.rfind(b"\n", 0, at) + 1
    around = next((begin for begin, end in script.statements if begin < line < end), None)
    return line if around is None else _line_before(script, source, around)


def _edited(source: bytes, edits: list[_Edit]) -> str:
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end), reverse=True):
        source = source[: edit.start] + edit.text.encode() + source[edit.end :]
    return source.decode()
