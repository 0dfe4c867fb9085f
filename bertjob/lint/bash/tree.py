"""The tree of a script by the bash grammar of tree-sitter, which cuts some words in two: those are put together."""

import re
from collections.abc import Iterator

import tree_sitter_bash
from tree_sitter import Language, Node, Parser

_BASH = Language(tree_sitter_bash.language())
_SIMPLE = re.compile(rb"\$(?:[A-Za-z_]\w*|[0-9@*#?$!-])")
"""What bash expands without braces."""


def tree(source: bytes) -> tuple[Node, list[tuple[int, int]]]:
    """The root, and where the expansions begin and end that it holds as plain letters.

    The grammar (0.25) ends a word at the second ``$`` of ``$A/$B/x`` and takes ``B/x`` for another one. Such a ``$B``
    is read as letters of the same length, so that all else keeps its place: the text of a node is that of `source`.

    Args:
        source: the script.
    """
    read, letters = bytearray(source), list[tuple[int, int]]()
    while True:
        text = bytes(read)
        root = Parser(_BASH).parse(text).root_node
        cut = [match for at in _lone_dollars(root) if (match := _SIMPLE.match(source, at))]
        if not cut:
            return root, sorted(letters)
        for match in cut:
            letters.append(match.span())
            read[match.start() : match.end()] = b"_" * len(match[0])


def _lone_dollars(root: Node) -> Iterator[int]:
    """Where a ``$`` stands that is not the beginning of an expansion."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node.type == "$" and (node.parent is None or node.parent.type != "simple_expansion"):
            yield node.start_byte
        waiting += node.children
