"""What a person must know about a script that goes to another engine."""

import re
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from bertjob.launch.engines import ENGINES, containers
from bertjob.lint.bash.commands import SHELLS
from bertjob.lint.bash.sbatch_script import Script
from bertjob.lint.steps import Start, each, layered
from bertjob.port import recognize
from bertjob.port.recognize import Told
from bertjob.port.render import Job, constant_image, expansions

_JOB_ENGINE = re.compile("engine: ([a-z-]+)")
"""A line of the job.yaml that a script of bertjob holds."""


class Note(NamedTuple):
    """What to know about a line."""

    line: int
    text: str


def one_of_a_kind(notes: Iterable[Note]) -> tuple[Note, ...]:
    """The notes by line; of several that say the same the first, with the lines of the others."""
    lines: dict[str, list[int]] = {}
    for line, text in sorted(notes):
        lines.setdefault(text, []).append(line)
    others = {text: ", ".join(map(str, dict.fromkeys(at[1:]))) for text, at in lines.items()}
    return tuple(
        Note(at[0], f"{text} (also line {others[text]})" if others[text] else text) for text, at in lines.items()
    )


def notes_on_script(script: Script, engine: str, rewritten: Collection[tuple[int, int]]) -> Iterator[Note]:
    """What stays as it is though it has to do with containers.

    Args:
        script: the script.
        engine: the new engine.
        rewritten: begin and end in bytes of what stands outside of the commands and does not stay.
    """
    others = _names(*containers()) - _names(engine)
    own = list(each(script))
    for start in layered(script):
        nested = not any(start.command is one.command for one in own)
        if nested and start.engines:
            yield Note(start.line, "this container is started in a string for another shell: left as it is")
    for start in own:
        name, arguments = start.command.name, start.command.arguments
        if name in others and not start.layers:
            yield Note(start.line, f"{' '.join([name, *arguments[:1]])} is left as it is")
        if name in {"module", "ml"}:
            loaded = [word for word in arguments if word.lower().partition("/")[0] in others]
            yield from (Note(start.line, f"the module {word} is still loaded") for word in loaded)
        if not any(begin <= start.command.words[0].start < end for begin, end in rewritten):
            wanted = others.intersection(_wanted_programs(start))
            yield from (Note(start.line, f"this still looks for {name}, which may not be there") for name in wanted)
    for number, text in enumerate(script.lines, start=1):
        said = _JOB_ENGINE.fullmatch(text)
        if said and said[1] in ENGINES.keys() - {engine}:
            yield Note(
                number, f"the job still says {text}: bertjob script --set engine={engine} makes a script that agrees"
            )


def _names(*engines: str) -> frozenset[str]:
    """The engines with their programs: what scripts call, and what modules are called."""
    return frozenset(engines).union(*(ENGINES[engine].programs for engine in engines))


def _wanted_programs(start: Start) -> Iterator[str]:
    """What is looked for on the nodes, as far as a name tells: ``command -v NAME``, or ``sh -s NAME`` with a script."""
    name, arguments = start.command.name, start.command.arguments
    if name in {"which", "type", "hash"} or (name == "command" and arguments[:1] in {("-v",), ("-V",)}):
        yield from arguments
    program = [word.value for word in start.program]
    if program[:1] and program[0].rpartition("/")[2] in SHELLS and program[1:2] == ["-s"]:
        yield from program[2:]


def notes_on_command(script: Script, start: Start, told: Told, engine: str, job: Job) -> Iterator[Note]:
    """What a command loses, and what it needs from the script around it.

    Args:
        script: the script.
        start: the command.
        told: what the old engine was told.
        engine: the new one.
        job: what the script around it says.
    """
    texts = [*_lost(start, told, engine), *_wanted(script, start, told, engine, job)]
    return (Note(start.line, text) for text in texts)


def _lost(start: Start, told: Told, engine: str) -> Iterator[str]:
    row = ENGINES[engine]
    for option, why in told.left:
        yield f"{option} is left out: {why}"
    if not row.limits.annotations:
        yield from (f"--annotation={key}={value} is left out: {engine} reads none" for key, value in told.annotations)
    if not row.limits.empty_variables:
        empty = (name for name, value in told.environment if value is not None and value.literal and not value.value)
        yield from (f"{name} is empty, and {engine} unsets such variables" for name in empty)
    if not row.limits.readonly_mounts and any(bind.readonly for bind in told.binds):
        yield f"readonly is left out: {engine} has no readonly mounts"
    if told.entrypoint_runs and not row.untold.entry_point:
        yield f"the image's entry point is no longer run: {engine} starts the program itself"
    if not start.program and told.entrypoint is None:
        yield "no program is named: the image's own may not be started"


def _wanted(script: Script, start: Start, told: Told, engine: str, job: Job) -> Iterator[str]:
    row = ENGINES[engine]
    image = constant_image(told, job) or told.image.value
    for layer in start.engines:
        prefix = ENGINES[layer.engine].images.local_prefix
        if prefix and image.startswith(prefix):
            yield f"only {layer.name} knows {image}: bring it to {engine} under that name, or name one in a registry"
    if not told.image.literal and not constant_image(told, job) and row.image_hint:
        yield f"{told.image.value} must hold the image as {engine} wants it: {row.image_hint}"
    if told.gpus:
        missing = [f"{name}={value}" for name, value in row.gpu_environment.items() if name not in script.code]
        if missing:
            yield f"{engine} shows GPUs by variables: export {' '.join(missing)}"
    for layer in start.engines:
        if not told.gpus and ENGINES[layer.engine].untold.gpus and (needed := recognize.gpu_options(engine)):
            yield f"{layer.name} shows GPUs untold, and none are asked for here: if the ranks use any, {needed}"
    if row.file:
        ours = {assignment.name for assignment in script.assignments} - set(job.exported)
        written_out = {told.image.parts[0]} if constant_image(told, job) else set()
        named = {part.name for part in expansions(told) if part not in written_out} & ours
        yield from (f"the file of {engine} names {name}: export it" for name in sorted(filter(None, named)))
    if row.daemon and script.directives:
        yield f"{engine}'s daemon starts containers outside of the job: Slurm neither limits nor ends them"
    if told.workdir is None and not row.untold.image_workdir and told.entrypoint_runs:
        yield f"no working directory is named: {engine} may begin in another one than the image's"
