"""A shell script as values: what the rules look at, and what porting rewrites."""

import re
from collections.abc import Iterator
from itertools import takewhile

import msgspec


class Expansion(msgspec.Struct, frozen=True):
    """A part of a word that the shell replaces.

    Attributes:
        source: as it is written, e.g. ``${SCRATCH:-/tmp}``.
        name: the variable; None for ``$(…)``, ``$((…))`` and the like.
        quoted: it stands within double quotes, so it stays one word.
    """

    source: str
    name: str | None
    quoted: bool

    @property
    def listed(self) -> bool:
        """Whether it is a list by its form, one word for each item: ``$@``, ``${OPTIONS[@]}``."""
        every = "@" if self.quoted else "@*"  # "$*" is one word
        return re.match(rf"\$(?:\{{?[{every}]|\{{\w+\[[{every}]\])", self.source) is not None


class Word(msgspec.Struct, frozen=True):
    """A word of a command.

    Attributes:
        parts: literal text without its quotes, and expansions.
        line: from 1.
        start, end: where its bytes lie in the script.
    """

    parts: tuple[str | Expansion, ...]
    line: int
    start: int
    end: int

    @property
    def value(self) -> str:
        """The word without quotes; expansions as they are written."""
        return "".join(part if isinstance(part, str) else part.source for part in self.parts)

    @property
    def literal(self) -> bool:
        """Whether the shell replaces nothing in it."""
        return all(isinstance(part, str) for part in self.parts)

    @property
    def splits(self) -> bool:
        """Whether it begins with an expansion that may become several words, or none."""
        first = self.parts[0] if self.parts else ""
        return isinstance(first, Expansion) and (not first.quoted or first.listed)

    @property
    def listed(self) -> bool:
        """Whether it is a list by its form: ``"$@"``, ``"${OPTIONS[@]}"``."""
        return any(isinstance(part, Expansion) and part.listed for part in self.parts)

    @property
    def resolved(self) -> str:
        """What a shell inside is handed: each expansion has become some text by then."""
        return "".join(part if isinstance(part, str) else "_" for part in self.parts)

    def after(self, count: int) -> "Word":
        """The word without its first characters, which must be literal."""
        parts = list(self.parts)
        while count and parts and isinstance(parts[0], str):
            cut = parts[0][count:]
            count -= len(parts[0]) - len(cut)
            parts[:1] = [cut] if cut else []
        return msgspec.structs.replace(self, parts=tuple(parts))


class Place(msgspec.Struct, frozen=True):
    """How a command stands in its script.

    Attributes:
        background: it, or a group around it, ends in ``&``.
        piped: another command reads its output.
        tested: its exit code decides something: ``if``, ``while``, ``||``, ``&&``, ``!``.
        function: in the body of a function.
        substituted: inside ``$(…)``, backquotes or ``<(…)``.
        looped: in the body of a loop.
        followed: by ``||``, so a failure of it is dealt with.
        comparing: inside ``[ … ]``, ``[[ … ]]`` or ``((…))``.
    """

    background: bool = False
    piped: bool = False
    tested: bool = False
    function: bool = False
    substituted: bool = False
    looped: bool = False
    followed: bool = False
    comparing: bool = False


class Assignment(msgspec.Struct, frozen=True):
    """``NAME=value``, alone, before a command, or behind ``export`` and its kin.

    Attributes:
        name: the variable.
        value: None for ``export NAME`` and for lists.
        line: from 1.
        exported: programs see it.
        before_command: it holds for one command only.
    """

    name: str
    value: Word | None
    line: int
    exported: bool
    before_command: bool
    place: Place


class Read(msgspec.Struct, frozen=True):
    """An expansion of a variable.

    Attributes:
        name: the variable.
        line: from 1.
        guarded: ``${NAME:-…}`` and its kin say what holds when it is unset.
    """

    name: str
    line: int
    guarded: bool
    place: Place


class Command(msgspec.Struct, frozen=True):
    """A simple command.

    Attributes:
        words: its name and arguments; redirections are left out.
        settings: assignments before it.
        place: how it stands in the script.
        inside: the scripts it hands to a shell: ``bash -c '…'``, or a here-document.
    """

    words: tuple[Word, ...]
    settings: tuple[Assignment, ...]
    place: Place
    inside: "tuple[Script, ...]" = ()

    @property
    def line(self) -> int:
        """Where it begins, from 1."""
        return self.words[0].line

    @property
    def name(self) -> str:
        """The program without its folder."""
        return self.words[0].value.rpartition("/")[2]

    @property
    def arguments(self) -> tuple[str, ...]:
        """The words after the name."""
        return tuple(word.value for word in self.words[1:])


class Directive(msgspec.Struct, frozen=True):
    """An option of an ``#SBATCH`` line.

    Attributes:
        name: as it is written, e.g. ``--nodes`` or ``-N``.
        long: its long name, or None if Slurm has no such option.
        value: None for none.
        line: from 1.
    """

    name: str
    long: str | None
    value: str | None
    line: int


class Script(msgspec.Struct, frozen=True):
    """A parsed script.

    Attributes:
        lines: the text, line by line.
        code: the text without its comments.
        first_line: number of its first line in the file; above 1 for a script inside another.
        directives: the options that sbatch reads.
        ignored: numbers of the lines whose #SBATCH sbatch does not read.
        commands, assignments, reads: in the order of the text.
        set_otherwise: variables that ``read``, ``for``, ``mapfile`` … set.
        statements: where its outermost commands begin and end, in bytes.
        language: the interpreter of a script in another language, of which only the head is read; None for shells.
        wrong_at: line of the first error of syntax.
    """

    lines: tuple[str, ...]
    code: str
    first_line: int
    directives: tuple[Directive, ...]
    ignored: tuple[int, ...]
    commands: tuple[Command, ...]
    assignments: tuple[Assignment, ...]
    reads: tuple[Read, ...]
    set_otherwise: frozenset[str]
    statements: tuple[tuple[int, int], ...]
    language: str | None
    wrong_at: int | None

    def option(self, long: str) -> Directive | None:
        """The #SBATCH option of this name; sbatch takes the last one.

        Of a heterogeneous job that of its first component, which the script runs on.
        """
        first = takewhile(lambda directive: directive.long != "hetjob", self.directives)
        found = [directive for directive in first if directive.long == long]
        return found[-1] if found else None

    def everything(self) -> "Iterator[Script]":
        """This script and all that its commands hand to a shell."""
        yield self
        for command in self.commands:
            for script in command.inside:
                yield from script.everything()

    def named(self, *names: str) -> Iterator[Command]:
        """The commands of these names."""
        return (command for command in self.commands if command.name in names)
