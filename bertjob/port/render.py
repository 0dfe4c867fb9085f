"""From what an engine was told to the words of another one, with the expansions of the script in their places."""

import re
import shlex
from collections.abc import Iterator, Mapping

import msgspec

from bertjob.config.registry.launchers import SLURM, place_variables
from bertjob.launch.argv import Ref, Text, Word, quote, variable
from bertjob.launch.engines import ENGINES, Bind, Container, Engine
from bertjob.lint.bash import sbatch_script as lint
from bertjob.port.recognize import Mounted, Told

_NOT_SAID = "not_said"
"""Stands for a working directory that nobody said: the option that names it is left out."""
_ARGUMENT = "\0argument "
"""Stands for an option that the engine's function puts in its place."""


class Job(msgspec.Struct, frozen=True):
    """What the script around the command says.

    Attributes:
        exported: variables, for engines that inherit none.
        constants: variables with one value that can be read here.
    """

    exported: tuple[str, ...]
    constants: Mapping[str, str]


class Written(msgspec.Struct, frozen=True):
    """A command for another engine.

    Attributes:
        words: in the place of the old engine's, as shell text.
        inside: words before the program, inside the container.
        file: the text of the file that the engine reads.
    """

    words: tuple[str, ...]
    inside: tuple[str, ...]
    file: str | None


def write(told: Told, engine: str, job: Job) -> Written:
    """The words of an engine, and those of the program where something must stand before it.

    Args:
        told: what the old engine was told.
        engine: the new one.
        job: what the script around it says.
    """
    row = ENGINES[engine]
    names = _Names()
    constant = constant_image(told, job)
    container = _container(told, engine, job, names, constant)
    words = [word for word in row.command(container) if not _refers_to(word, _NOT_SAID)]
    if told.entrypoint_runs and "--entrypoint" in words:  # the image's own, which the engine runs unless told not to
        at = words.index("--entrypoint")
        del words[at : at + 2]
    text = [_argument(told, word, names) if _is_argument(word) else names.text(word) for word in words]
    if constant:
        text = [word.replace(constant, told.image.value) if "," not in word else word for word in text]
    values = [(name, value) for name, value in told.environment if value is not None]
    inside: list[str] = []
    if values and not _sets_variables(row) and not row.file:
        inside += ["env", *(f"{name}={names.text(names.word(value))}" for name, value in values)]
    if told.entrypoint is not None:
        inside.append(names.text(names.word(told.entrypoint)))
    return Written(tuple(text), tuple(inside), _file(row.file.text(container), names) if row.file else None)


def constant_image(told: Told, job: Job) -> str:
    """The image that a variable is known to hold; empty where the image is no such variable."""
    parts = told.image.parts
    name = parts[0].name if len(parts) == 1 and isinstance(parts[0], lint.Expansion) else None
    plain = name is not None and told.image.value in {f"${name}", f"${{{name}}}"}
    return job.constants.get(name or "", "") if plain else ""


def expansions(told: Told) -> Iterator[lint.Expansion]:
    """All that the shell replaces in what the engine is told."""
    words = [told.image, *(word for bind in told.binds for word in (bind.source, bind.target))]
    words += [told.workdir] if told.workdir else []
    words += [value for _, value in told.environment if value is not None]
    return (part for word in words for part in word.parts if isinstance(part, lint.Expansion))


class _Names:
    """Names for expansions: an engine's function sees references to variables, the script gets its own words back."""

    def __init__(self) -> None:
        self.expansions: dict[str, lint.Expansion] = {}

    def word(self, word: lint.Word) -> Word:
        """The word of a script for an engine's function."""
        if word.literal:
            return word.value
        return Text(tuple(part if isinstance(part, str) else self.name(part) for part in word.parts))

    def name(self, expansion: lint.Expansion) -> Ref:
        name = f"expansion_{len(self.expansions)}"
        self.expansions[name] = expansion
        return Ref(name)

    def text(self, word: Word) -> str:
        """The word as shell text: expansions that were quoted stay quoted, those that were not stay bare."""
        if isinstance(word, str):
            return quote(word)
        known = [self.expansions.get(name) for name in word.references]
        if all(expansion is not None and not expansion.quoted for expansion in known):
            following = [*word.parts[1:], ""]
            return "".join(self.bare(part, after) for part, after in zip(word.parts, following, strict=True))
        reference = r"\$(?:\{(expansion_\d+)\}|(expansion_\d+))"
        return re.sub(reference, lambda match: self.source(match[1] or match[2], joined=bool(match[1])), quote(word))

    def bare(self, part: str | Ref, after: str | Ref) -> str:
        if isinstance(part, str):
            return part if re.fullmatch(r"[\w@%+=:,./-]*", part, re.ASCII) else shlex.quote(part)
        return self.source(part.name, joined=isinstance(after, str) and re.match(r"[A-Za-z0-9_\[]", after) is not None)

    def source(self, name: str, joined: bool) -> str:
        """The expansion as it was written, in braces where what follows would belong to the variable's name."""
        source = self.expansions[name].source
        return f"${{{source[1:]}}}" if joined and re.fullmatch(r"\$\w+", source) else source


def _container(told: Told, engine: str, job: Job, names: _Names, constant: str) -> Container:
    row = ENGINES[engine]
    values = {name: names.word(value) for name, value in told.environment if value is not None}
    inherited: dict[str, Word] = dict.fromkeys(job.exported, "") if row.daemon else {}
    return Container(
        image=constant or names.word(told.image),
        binds=tuple(_bind(bind, names, row.limits.readonly_mounts) for bind in told.binds),
        workdir=variable(_NOT_SAID) if told.workdir is None else names.word(told.workdir),
        folder=variable("SLURM_SUBMIT_DIR"),
        gpus=int(bool(told.gpus)),
        gpu_vendor=told.gpus or "nvidia",
        environment=values if row.file else inherited,
        ranks=(*place_variables(), *SLURM.in_scripts),
        args=tuple(f"{_ARGUMENT}{number}" for number in range(len(told.environment)) if _sets_variables(row)),
        annotations=dict(told.annotations) if row.limits.annotations else {},
        stdin=told.stdin,
    )


def _sets_variables(row: Engine) -> bool:
    """Whether it has an option that sets a variable to a value that is not exported; else `env` does it inside."""
    return row.cli is not None and row.cli.sets_variables


def _bind(mounted: Mounted, names: _Names, readonly: bool) -> Bind:
    return Bind(names.word(mounted.source), names.word(mounted.target), mounted.readonly and readonly)


def _is_argument(word: Word) -> bool:
    return isinstance(word, str) and word.startswith(_ARGUMENT)


def _argument(told: Told, word: Word, names: _Names) -> str:
    name, value = told.environment[int(str(word).removeprefix(_ARGUMENT))]
    return f"--env={name}" if value is None else f"--env={name}={names.text(names.word(value))}"


def _refers_to(word: Word, name: str) -> bool:
    return isinstance(word, Text) and name in word.references


def _file(text: str, names: _Names) -> str:
    """The file with the variables' own names, which the engine replaces, and no line about what nobody said."""
    lines = [line for line in text.split("\n") if f"${{{_NOT_SAID}}}" not in line]
    own = {name: f"${{{expansion.name}}}" for name, expansion in names.expansions.items()}
    return re.sub(r"\$\{(expansion_\d+)\}", lambda match: own[match[1]], "\n".join(lines))


def file_name(name: str, number: int) -> str:
    """The name of the file that an engine reads, from its usual one; jobs in the same folder have others."""
    stem, _, end = name.partition(".")
    return f"{stem}-$SLURM_JOB_ID{f'-{number + 1}' if number else ''}.{end}"
