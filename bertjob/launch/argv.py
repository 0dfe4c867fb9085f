"""Words of a command line: literal text, or text in which the job's shell replaces variables.

Commands are tuples of words from beginning to end; quoting happens once, when the script is written.
"""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence

import msgspec

_REFERENCE = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_OPTION = re.compile(r"--[a-z-]+=")
_SPECIAL = re.compile(r'([\\"`$])')


class Ref(msgspec.Struct, frozen=True):
    """A reference to a shell variable."""

    name: str


class Text(msgspec.Struct, frozen=True):
    """Literal parts and references to variables, as one word of a command."""

    parts: tuple[str | Ref, ...]

    def __add__(self, other: "Word") -> "Text":
        return Text((*self.parts, *_parts(other)))

    def __radd__(self, other: str) -> "Text":
        return Text((other, *self.parts))

    def __str__(self) -> str:
        return "".join(part if isinstance(part, str) else f"${{{part.name}}}" for part in self.parts)

    @property
    def references(self) -> tuple[str, ...]:
        """Names of the variables."""
        return tuple(part.name for part in self.parts if isinstance(part, Ref))

    def replaced(self, variables: Mapping[str, str]) -> str:
        """The text with the variables' values in their places."""
        return "".join(part if isinstance(part, str) else variables[part.name] for part in self.parts)


Word = str | Text
"""A ``str`` is literal, whatever it holds; ``+`` joins both kinds."""


def variable(name: str) -> Text:
    """The word ``$name``."""
    return Text((Ref(name),))


def parse(text: str) -> Word:
    """The word for text that may name variables as ``$NAME`` or ``${NAME}``; anything else in it is literal."""
    parts: list[str | Ref] = []
    end = 0
    for match in _REFERENCE.finditer(text):
        parts += [text[end : match.start()], Ref(match[1] or match[2])]
        end = match.end()
    return Text((*parts, text[end:])) if parts else text


def value(word: Word, variables: Mapping[str, str]) -> str | None:
    """The text that a word stands for; None where it names a variable that is not among these."""
    if isinstance(word, str):
        return word
    return word.replaced(variables) if all(name in variables for name in word.references) else None


def quote(word: Word) -> str:
    """The word as bash reads it back: one word, literal but for its references."""
    parts = _parts(word)
    if isinstance(word, str) and not re.search("[$`]", word):
        plain = shlex.quote(word)
        return f"'{plain}'" if plain.startswith("=") else plain  # NAME==value looks like a comparison
    option = _OPTION.match(parts[0]) if isinstance(parts[0], str) else None
    if option:  # --option="$VALUE" reads better than "--option=$VALUE"
        return option[0] + quote(Text((option.string[option.end() :], *parts[1:])))
    following = [*parts[1:], ""]
    return '"' + "".join(_quoted(part, after) for part, after in zip(parts, following, strict=True)) + '"'


def quote_directive(text: str) -> str:
    """The value of an ``#SBATCH`` option as sbatch's own parser reads it: there a backslash escapes anywhere."""
    if re.fullmatch(r"[\w@%+=:,./-]+", text, re.ASCII):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def fold(words: Sequence[Word], width: int) -> list[str]:
    """Quoted words on lines of about `width` columns, broken only before an option or one of env's assignments."""
    lines: list[str] = []
    for group in _options(words):
        if lines and len(lines[-1]) + 1 + len(group) <= width:
            lines[-1] += f" {group}"
        else:
            lines.append(group)
    return lines


def has_control_characters(text: str) -> bool:
    """Whether the text holds a newline or another control character: in a directive it would open a new line."""
    return _CONTROL.search(text) is not None


def _parts(word: Word) -> tuple[str | Ref, ...]:
    return (word,) if isinstance(word, str) else word.parts


def _quoted(part: str | Ref, after: str | Ref) -> str:
    """One part inside double quotes; braces only where the next character would belong to the name."""
    if isinstance(part, str):
        return _SPECIAL.sub(r"\\\1", part)
    joined = isinstance(after, str) and re.match(r"[A-Za-z0-9_\[]", after) is not None
    return f"${{{part.name}}}" if joined else f"${part.name}"


def _options(words: Sequence[Word]) -> list[str]:
    """Quoted words, an option together with the words after it, unless it has its value behind ``=``."""
    groups: list[str] = []
    open_ended = wants_value = False
    for word in words:
        option = str(word).startswith("-")
        assignment = not wants_value and _ASSIGNMENT.match(str(word)) is not None
        if groups and not option and not assignment and open_ended:
            groups[-1] += f" {quote(word)}"
        else:
            groups.append(quote(word))
            open_ended = "=" not in str(word)
        wants_value = option and open_ended
    return groups


def only_numbers(names: Iterable[str]) -> list[str]:
    """Lines that end the script where a variable holds anything but a number, before arithmetic reads it."""
    checks = [f"[[ ${{{name}:-0}} =~ ^[0-9]+$ ]] || {exit_saying(f'{name} is not a number')}" for name in names]
    return ["# Arithmetic would run commands that hide in text.", *checks] if checks else []


def exit_saying(complaint: str) -> str:
    """A command that ends the script."""
    return f'{{ echo "bertjob: {complaint}" >&2; exit 1; }}'
