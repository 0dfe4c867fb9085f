"""From the nodes of a tree to words: literal text without its quotes, and expansions."""

import re
from collections.abc import Iterator, Sequence

from tree_sitter import Node

from bertjob.lint.bash.sbatch_script import Expansion, Word

_EXPANSIONS = frozenset(
    {
        *("simple_expansion", "expansion", "command_substitution", "arithmetic_expansion"),
        *("process_substitution", "brace_expression"),
    }
)
_ESCAPE = re.compile(r"\\(\n|.)", re.DOTALL)
_ESCAPE_IN_STRING = re.compile(r'\\([\\"$`]|\n)')


class Words:
    """Reads words, texts and line numbers of nodes.

    Args:
        source: the script.
        letters: begin and end of the expansions that the tree has as letters.
        first_line: number of its first line in the file.
    """

    def __init__(self, source: bytes, letters: Sequence[tuple[int, int]], first_line: int) -> None:
        self.source = source
        self.letters = letters
        self.first_line = first_line

    def word(self, node: Node) -> Word:
        """Of a word's node."""
        return Word(tuple(_joined(self._parts(node))), self.line(node), node.start_byte, node.end_byte)

    def _parts(self, node: Node) -> Iterator[str | Expansion]:
        """Of a word; the text between the nodes counts, because the grammar leaves some blanks out."""
        if node.type == "concatenation":
            for child in node.children:
                yield from self._parts(child)
        elif node.type in _EXPANSIONS:
            yield _expansion(self.text(node), quoted=False)
        elif node.type == "raw_string":
            yield self.text(node)[1:-1]
        elif node.type == "ansi_c_string":
            yield self.text(node)[2:-1]
        elif node.type in {"string", "translated_string"}:
            yield from self._in_quotes(node)
        else:
            yield from self._bare(node)

    def _bare(self, node: Node) -> Iterator[str | Expansion]:
        at = node.start_byte
        for start, end in self.hidden(node):
            yield _unescaped(self.between(at, start))
            yield _expansion(self.between(start, end), quoted=False)
            at = end
        yield _unescaped(self.between(at, node.end_byte))

    def _in_quotes(self, node: Node) -> Iterator[str | Expansion]:
        at = node.start_byte + (2 if node.type == "translated_string" else 1)
        inner = node.children[-1].children if node.type == "translated_string" else node.children
        for child in inner:
            if child.type in _EXPANSIONS:
                yield self._unescaped(at, child.start_byte)
                yield _expansion(self.text(child), quoted=True)
                at = child.end_byte
        yield self._unescaped(at, node.end_byte - 1)

    def _unescaped(self, start: int, end: int) -> str:
        return _ESCAPE_IN_STRING.sub(lambda match: match[1].strip("\n"), self.between(start, end))

    def hidden(self, node: Node) -> list[tuple[int, int]]:
        """Begin and end of the expansions that the tree has as letters of a node."""
        return [span for span in self.letters if node.start_byte <= span[0] < node.end_byte]

    def text(self, node: Node) -> str:
        """Of a node, as the script has it."""
        return self.between(node.start_byte, node.end_byte)

    def between(self, start: int, end: int) -> str:
        """The text between two bytes."""
        return self.source[start:end].decode(errors="replace")

    def line(self, node: Node) -> int:
        """Where a node begins, from 1 in the file."""
        return self.first_line + node.start_point[0]


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda match: match[1].strip("\n"), text)


def _expansion(source: str, quoted: bool) -> Expansion:
    return Expansion(source, variable(source), quoted)


def variable(source: str) -> str | None:
    """The name in ``$NAME`` or ``${NAME…}``."""
    match = re.match(r"\$\{?[#!]?([A-Za-z_][A-Za-z0-9_]*)", source)
    return match[1] if match else None


def _joined(parts: Iterator[str | Expansion]) -> Iterator[str | Expansion]:
    """Literal text that stands side by side in one piece, and none that is empty."""
    text = ""
    for part in parts:
        if isinstance(part, str):
            text += part
            continue
        if text:
            yield text
        text = ""
        yield part
    if text:
        yield text
