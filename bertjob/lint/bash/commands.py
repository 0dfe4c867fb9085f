"""The layers of a command line: launcher, engine, program, each with the options that belong to it."""

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Literal, cast

import msgspec

from bertjob.config.registry.code import load_code
from bertjob.config.registry.launcher_programs import Program
from bertjob.config.registry.launchers import programs
from bertjob.launch.engines import ENGINES, find_engine
from bertjob.lint.bash.sbatch_script import Word
from bertjob.lint.sbatch import srun_name, srun_with_value

Kind = Literal["prefix", "launcher", "engine"]


class Grammar(msgspec.Struct, frozen=True):
    """How the command line of a program that starts another one is read.

    Attributes:
        kind: what it does to the program.
        valued: options whose value is the next word, unless it is joined to them.
        verbs: words one of which must follow, e.g. ``run``.
        operands: words between its options and the program, e.g. the image.
        wide: a single dash begins a long name as well (``-npernode 4``).
        pairs: options with two values, if `wide`.
        full_name: from an option's name to the name that rules know it by.
    """

    kind: Kind
    valued: frozenset[str] = frozenset()
    verbs: tuple[str, ...] = ()
    operands: int = 0
    wide: bool = False
    pairs: frozenset[str] = frozenset()
    full_name: Callable[[str], str] | None = None


class Option(msgspec.Struct, frozen=True):
    """An option with its value; a name that srun or mpirun knows by several has its longest here."""

    name: str
    value: Word | None
    words: tuple[Word, ...]


class Layer(msgspec.Struct, frozen=True):
    """One program that starts the next.

    Attributes:
        name: without its folder.
        kind: what it does to the next.
        words: all its words, options and operands among them.
        options: those that were understood.
        operands: e.g. the image.
        opaque: an option may hide in a variable.
        verb: e.g. ``run``; empty for a program without verbs.
        engine: the engine that it is the command of; empty for other programs.
    """

    name: str
    kind: Kind
    words: tuple[Word, ...]
    options: tuple[Option, ...]
    operands: tuple[Word, ...]
    opaque: bool
    verb: str = ""
    engine: str = ""

    def has(self, *names: str) -> bool:
        """Whether one of these options is there."""
        return any(option.name in names for option in self.options)

    def value(self, *names: str) -> str | None:
        """The value of the last option of these names."""
        found = [option.value.value for option in self.options if option.name in names and option.value is not None]
        return found[-1] if found else None


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PREFIXES: Mapping[str, Grammar] = {
    **dict.fromkeys(("exec", "time", "nohup", "setsid"), Grammar("prefix")),
    "env": Grammar("prefix", _set("-u --unset -C --chdir")),
    "nice": Grammar("prefix", _set("-n --adjustment")),
    "timeout": Grammar("prefix", _set("-s --signal -k --kill-after"), operands=1),
    "stdbuf": Grammar("prefix", _set("-i -o -e --input --output --error")),
    "numactl": Grammar("prefix", _set("-C -N -m -i -p --physcpubind --cpunodebind --membind --interleave --preferred")),
    "taskset": Grammar("prefix", operands=1),
}
"""Programs that start another one and are neither launchers nor engines, by their name."""


def grammar_of(name: str) -> Grammar | None:
    """How the command line of a program is read; None for one that starts no other one, as far as is known."""
    if engine := find_engine(name):
        cli = ENGINES[engine].cli
        assert cli is not None
        return Grammar("engine", cli.valued, tuple(cli.verbs), cli.operands)
    return _PREFIXES.get(name) or next((_of_launcher(program) for program in programs() if name in program.names), None)


def srun() -> Grammar:
    """The grammar of srun, with the options of the engines that are plugins of Slurm."""
    return Grammar("launcher", srun_with_value(), full_name=srun_name)


def mpiruns() -> frozenset[str]:
    """The names of the launchers that belong to an MPI library."""
    return frozenset(name for program in programs() if program.family for name in program.names)


def _of_launcher(program: Program) -> Grammar:
    """The grammar of a launcher's program; those of MPI share one, for they share names and scripts mix them up."""
    if program.grammar is not None:
        return cast("Callable[[], Grammar]", load_code(program.grammar))()
    alike = [one for one in programs() if one.family] if program.family else [program]
    return Grammar(
        "launcher",
        valued=frozenset(option for one in alike for option in one.valued),
        verbs=program.verbs,
        wide=program.family is not None,
        pairs=frozenset(option for one in alike for option in one.pairs),
    )


_IMAGE_VARIABLE = re.compile(r"\$\{?\w*(?:image|img|container|sif|sqsh)", re.IGNORECASE)
_IMAGE = re.compile(rf"\w[\w.-]*[/:]|.*\.(?:sif|sqsh)$|{_IMAGE_VARIABLE.pattern}", re.IGNORECASE)
"""What looks like an image: by its form, or by the name of the variable that holds it."""

SHELLS = frozenset({"bash", "sh", "dash", "ksh", "zsh"})


def split(words: Sequence[Word]) -> tuple[tuple[Layer, ...], tuple[Word, ...]]:
    """The layers of a command line from outside to inside, and the words of the program."""
    layers: list[Layer] = []
    rest = tuple(words)
    while rest:
        read = _layer(rest)
        if read is None:
            break
        layer, rest = read
        layers.append(layer)
    return tuple(layers), rest


def names_image(word: Word) -> bool:
    """Whether a word that begins with a variable tells that it is an image and not a list of options."""
    return _IMAGE_VARIABLE.match(word.value) is not None or any(isinstance(part, str) for part in word.parts)


def shell_text(program: Sequence[Word]) -> Word | None:
    """The script in ``bash -c SCRIPT``, with whatever other options."""
    if not program or program[0].value.rpartition("/")[2] not in SHELLS:
        return None
    for option, text in pairwise(program[1:]):
        if re.fullmatch(r"-[a-z]*c[a-z]*", option.value):
            return text
        if not option.value.startswith(("-", "+")) and option.value not in {"pipefail", "errexit", "nounset"}:
            return None
    return None


def _layer(words: tuple[Word, ...]) -> tuple[Layer, tuple[Word, ...]] | None:
    name = words[0].value.rpartition("/")[2]
    grammar = grammar_of(name) if words[0].literal else None
    if grammar is None:
        return None
    at, verb = 1, ""
    if grammar.verbs:
        while at < len(words) and words[at].value.startswith("-"):  # global options
            at += 1
        if at == len(words) or words[at].value not in grammar.verbs:
            return None
        verb = words[at].value
        at += 1
    options: list[Option] = []
    opaque = False
    while at < len(words):
        text = words[at].value
        if text == "--":
            at += 1
            break
        if words[at].splits and _holds_options(words, at, grammar):
            opaque = True
            at += 1
        elif name == "env" and "=" in text and not text.startswith("-"):
            at += 1
        elif text.startswith("-") and len(text) > 1:
            found = _wide(words, at, grammar) if grammar.wide else _option(words, at, grammar)
            options += [*found]
            at += len(found[-1].words)
        else:
            break
    operands = words[at : at + grammar.operands]
    at += len(operands)
    if at < len(words) and operands and words[at].value == "--":
        at += 1
    if grammar.full_name is not None:
        options = [msgspec.structs.replace(option, name=grammar.full_name(option.name)) for option in options]
    engine = find_engine(name) or ""
    return Layer(name, grammar.kind, words[:at], tuple(options), operands, opaque, verb, engine), words[at:]


def _holds_options(words: tuple[Word, ...], at: int, grammar: Grammar) -> bool:
    """Whether a variable before the program is rather a list of options than an operand."""
    following = [word.value for word in words[at + 1 : at + 2 + grammar.operands]]
    if words[at].listed:
        return bool(following)
    if len(following) <= grammar.operands:
        return False
    if not grammar.operands or following[0].startswith("-"):
        return True
    return not names_image(words[at]) and _IMAGE.match(following[0]) is not None


def _option(words: tuple[Word, ...], at: int, grammar: Grammar) -> list[Option]:
    """One word of options as getopt reads it: ``--a=b``, ``--a b``, ``-ab``, ``-a b``; flags of one word share it."""
    word, text = words[at], words[at].value
    following = words[at + 1] if at + 1 < len(words) else None
    if text.startswith("--"):
        name, joined, _ = text.partition("=")
        if joined:
            return [Option(name, word.after(len(name) + 1), (word,))]
        if name in grammar.valued and following is not None:
            return [Option(name, following, (word, following))]
        return [Option(name, None, (word,))]
    flags: list[Option] = []
    for position, letter in enumerate(text[1:], start=1):
        if f"-{letter}" in grammar.valued:
            joined_value = word.after(position + 1)
            if joined_value.parts:
                return [*flags, Option(f"-{letter}", joined_value, (word,))]
            if following is not None:
                return [*flags, Option(f"-{letter}", following, (word, following))]
        flags.append(Option(f"-{letter}", None, (word,)))
        if flags[-1].name == "-K":  # srun's own: a number may be joined to it
            break
    return flags


def _wide(words: tuple[Word, ...], at: int, grammar: Grammar) -> list[Option]:
    """One option of mpirun or mpiexec, named with one dash however many it is written with."""
    word = words[at]
    name, joined, _ = ("-" + word.value.lstrip("-")).partition("=")
    if joined:
        return [Option(name, word.after(word.value.index("=") + 1), (word,))]
    count = 2 if name in grammar.pairs else 1 if name in grammar.valued else 0
    taken = words[at : at + 1 + count]
    return [Option(name, taken[1] if len(taken) > 1 else None, taken)]
