"""YAML in, a tree of values out, each of which knows its file and line.

The scalars are YAML 1.2's: ``3e-5`` is a number, ``no`` is text and ``00:20:00`` is not 1200. PyYAML's parser reads the
text; only the meaning of plain scalars is decided here.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
import yaml

from bertjob.errors import SpecError

_INT = re.compile(r"[-+]?\d+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?", re.ASCII)
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
_TOO_MANY = 20_000
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Origin(msgspec.Struct, frozen=True):
    """Where a value was said: a file with a line, or an option of the command line."""

    source: str
    line: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


class Leaf(msgspec.Struct, frozen=True):
    """A scalar: its value by YAML 1.2's rules, and its text for keys that want text."""

    value: Any
    text: str
    origin: Origin


class Items(msgspec.Struct, frozen=True):
    """A list."""

    items: "tuple[Tree, ...]"
    origin: Origin


class Branch(msgspec.Struct, frozen=True):
    """A mapping of keys to trees, in the order of the file."""

    children: "Mapping[str, Tree]"
    origin: Origin
    key_origins: Mapping[str, Origin] = {}


Tree = Leaf | Items | Branch


def read_tree(text: str, source: str, lines: bool = True) -> Tree:
    """The tree of one YAML document.

    Args:
        text: the document.
        source: file or option that it comes from.
        lines: whether origins say the line; an option of the command line has none.

    Raises:
        SpecError: not YAML, several documents, a repeated or non-text key, a merge key, a tag, or an alias that
            contains itself or multiplies beyond reason; says the file and line.
    """
    try:
        node = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise SpecError(
            f"{Origin(source, mark.line + 1 if mark and lines else None)}: not YAML: {error.problem}"
        ) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SpecError(f"{source}: not YAML: {' '.join(str(error).split())}") from None
    if node is None:
        return Branch({}, Origin(source, 1 if lines else None))
    return _Reader(source, lines).tree(node, ())


def merge(lower: Tree, upper: Tree) -> Tree:
    """`upper` laid over `lower`: mappings key by key, all else replaced."""
    if not isinstance(lower, Branch) or not isinstance(upper, Branch):
        return upper
    children = dict(lower.children)
    for key, tree in upper.children.items():
        children[key] = merge(children[key], tree) if key in children else tree
    return Branch(children, upper.origin, {**lower.key_origins, **upper.key_origins})


def plain(tree: Tree) -> Any:
    """The tree as plain Python values."""
    match tree:
        case Leaf(value=value):
            return value
        case Items(items=items):
            return [plain(item) for item in items]
        case Branch(children=children):
            return {key: plain(child) for key, child in children.items()}


def nest(path: str, tree: Tree, origin: Origin) -> Branch:
    """``a.b.c`` and a tree as nested mappings.

    Raises:
        SpecError: a part of the path is empty.
    """
    parts = path.split(".")
    if not all(parts):
        raise SpecError(f"{origin}: {path!r} is no key: write it like train.epochs")
    for part in reversed(parts):
        tree = Branch({part: tree}, origin, {part: origin})
    assert isinstance(tree, Branch)
    return tree


def scalar(text: str) -> Any:
    """A plain scalar's meaning in YAML 1.2's core schema: null, true, a number or text."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if _INT.fullmatch(text):
        return int(text) if len(text) < 30 else text
    return float(text) if _FLOAT.fullmatch(text) else text


class _Reader:
    """Turns PyYAML's nodes into a tree; counts them, because aliases can make a small file enormous."""

    def __init__(self, source: str, lines: bool) -> None:
        self.source = source
        self.lines = lines
        self.seen = 0

    def origin(self, node: yaml.Node) -> Origin:
        return Origin(self.source, node.start_mark.line + 1 if self.lines else None)

    def tree(self, node: yaml.Node, above: tuple[int, ...]) -> Tree:
        origin = self.origin(node)
        self.seen += 1
        if id(node) in above or self.seen > _TOO_MANY or len(above) > 50:
            raise SpecError(f"{origin}: no job or site: aliases or nesting without end")
        above = (*above, id(node))
        if isinstance(node, yaml.ScalarNode):
            quoted = bool(node.style)  # or a block: text, whatever it looks like
            return Leaf(node.value if quoted else scalar(node.value), node.value, origin)
        if isinstance(node, yaml.SequenceNode):
            return Items(tuple(self.tree(child, above) for child in node.value), origin)
        assert isinstance(node, yaml.MappingNode)
        children: dict[str, Tree] = {}
        key_origins: dict[str, Origin] = {}
        for key_node, value_node in node.value:
            at = self.origin(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                raise SpecError(f"{at}: a key must be plain text")
            key = key_node.value
            if key == "<<":
                raise SpecError(f"{at}: merge keys (<<) are not read here; use `base:` to build on another file")
            if key in children:
                raise SpecError(f"{at}: the key {key!r} is there twice (first in line {key_origins[key].line})")
            children[key] = self.tree(value_node, above)
            key_origins[key] = at
        return Branch(children, origin, key_origins)
