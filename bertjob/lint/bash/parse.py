"""From text to a `Script`, by the bash grammar of tree-sitter, which cuts some words in two: those are joined."""

import re
from collections.abc import Iterator
from itertools import pairwise

import tree_sitter_bash
from msgspec.structs import replace
from tree_sitter import Language, Node, Parser

from bertjob.lint.bash import commands
from bertjob.lint.bash.header import directives, length, other_language
from bertjob.lint.bash.sbatch_script import Assignment, Command, Place, Read, Script, Word
from bertjob.lint.bash.words import Words, variable

_BASH = Language(tree_sitter_bash.language())
_SIMPLE = re.compile(rb"\$(?:[A-Za-z_]\w*|[0-9@*#?$!-])")
"""What bash expands without braces."""
_DEEPEST = 3
"""Shells within shells that are looked into."""
_BLOCKS = frozenset({"if_statement", "elif_clause", "while_statement"})
_SETTERS = frozenset({"read", "mapfile", "readarray", "getopts", "printf", "let"})
_GUARDS = frozenset({"-", ":-", "=", ":=", "?", ":?", "+", ":+"})
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def syntax_tree(source: bytes) -> tuple[Node, list[tuple[int, int]]]:
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


def parse(text: str, first_line: int = 1, depth: int = 0) -> Script:
    """The script; what is not bash is skipped, and its first line is `Script.wrong_at`.

    Args:
        text: the script; DOS line ends are read as line ends.
        first_line: number of its first line in the file.
        depth: how many shells are around it.
    """
    lines = tuple(text.split("\n"))
    language = None if depth else other_language(lines)
    read = "\n".join(lines[: length(lines)]) if language else text
    source = read.replace("\r\n", "\n").encode(errors="replace")
    root, letters = syntax_tree(source)
    found = _Reader(Words(source, letters, first_line), depth)
    found.read(root)
    live, ignored = directives(lines, [(node.start_point[0], found.words.text(node)) for node in found.comments])
    return Script(
        lines=lines,
        code=_without(source, found.comments),
        first_line=first_line,
        directives=live,
        ignored=ignored,
        commands=tuple(sorted(found.commands, key=lambda command: command.words[0].start)),
        assignments=tuple(sorted(found.assignments, key=lambda assignment: assignment.line)),
        reads=tuple(sorted(found.reads, key=lambda read: read.line)),
        set_otherwise=frozenset(found.set_otherwise),
        statements=tuple((child.start_byte, child.end_byte) for child in root.children if _is_statement(child)),
        language=language,
        wrong_at=min(found.wrong, default=None),
    )


class _Reader:
    """Walks a tree with a stack of its own: text may be nested deeper than Python's."""

    def __init__(self, words: Words, depth: int) -> None:
        self.words = words
        self.depth = depth
        self.commands: list[Command] = []
        self.assignments: list[Assignment] = []
        self.reads: list[Read] = []
        self.comments: list[Node] = []
        self.set_otherwise: set[str] = set()
        self.wrong: list[int] = []

    def read(self, root: Node) -> None:
        waiting: list[tuple[Node, Place, Node | None]] = [(root, Place(), None)]
        while waiting:
            node, place, document = waiting.pop()
            if node.is_error or node.is_missing:
                self.wrong.append(self.words.line(node))
            if node.type == "comment":
                self.comments.append(node)
            elif node.type == "command":
                self.command(node, place, document)
            elif node.type in {"variable_assignment", "declaration_command"}:
                self.assignment(node, place)
            elif node.type in {"simple_expansion", "expansion"}:
                self.expansion(node, place)
            elif not node.children:
                for start, end in self.words.hidden(node):
                    self.reading(self.words.between(start, end), self.words.line(node), False, place)
            elif node.type in {"for_statement", "select_statement"}:
                self.set_otherwise.update(
                    self.words.text(child) for child in node.children if child.type == "variable_name"
                )
            waiting += self.below(node, place, document)

    def below(self, node: Node, place: Place, document: Node | None) -> Iterator[tuple[Node, Place, Node | None]]:
        children = node.children
        within = _within(node, place)
        operators = [child.type for child in children]
        condition = node.type in _BLOCKS
        for number, child in enumerate(children):
            here = within
            following = operators[number + 1] if number + 1 < len(operators) else ""
            if following == "&":
                here = replace(here, background=True)
            if following in {"&&", "||"}:
                here = replace(here, tested=True, followed=following == "||")
            if node.type == "pipeline" and following in {"|", "|&"}:
                here = replace(here, piped=True)
            if child.type in {"then", "do_group"}:
                condition = False
            if node.type == "case_statement" and number == 1:
                here = replace(here, comparing=True)
            if condition:
                here = replace(here, tested=True, followed=True)
            yield child, here, _document(node) or document if node.type == "redirected_statement" else None

    def command(self, node: Node, place: Place, document: Node | None) -> None:
        settings = tuple(
            self.assigned(child, place, exported=True, before_command=True)
            for child in node.children
            if child.type == "variable_assignment" and self.for_program(child)
        )
        named = node.child_by_field_name("name")
        arguments = node.children_by_field_name("argument")
        nodes = [child for name in (named,) if name for child in name.children] + arguments
        words = tuple(self.words.word(child) for child in nodes)
        if not words:
            return
        if words[0].value in _SETTERS:
            self.set_otherwise.update(name for word in words[1:] for name in _NAME.findall(word.value))
        self.commands.append(Command(words, settings, place, self.inside(words, document)))

    def for_program(self, assignment: Node) -> bool:
        """Whether it stands before a program on the same line; the grammar joins ``A=1 B=2`` with the next line."""
        command = assignment.parent
        name = command.child_by_field_name("name") if command is not None and command.type == "command" else None
        if command is None or name is None:
            return False
        until_name = [node for node in command.children if assignment.start_byte <= node.start_byte <= name.start_byte]
        gaps = (self.words.between(one.end_byte, other.start_byte) for one, other in pairwise(until_name))
        return not any("\n" in gap.replace("\\\n", "") for gap in gaps)

    def inside(self, words: tuple[Word, ...], document: Node | None) -> tuple[Script, ...]:
        if self.depth >= _DEEPEST:
            return ()
        layers, program = commands.split(words)
        text = commands.shell_text(program)
        if text is not None:
            return (parse(text.resolved, text.line, self.depth + 1),)
        if document is not None and layers and program and program[0].value.rpartition("/")[2] in commands.SHELLS:
            return (parse(self.words.text(document), self.words.line(document), self.depth + 1),)
        return ()

    def assignment(self, node: Node, place: Place) -> None:
        parent = node.parent
        if node.type == "declaration_command":
            exported = self.exports(node)
            names = (child for child in node.children if child.type == "variable_name")
            self.assignments += [
                Assignment(self.words.text(name), None, self.words.line(name), exported, False, place) for name in names
            ]
        elif parent is None or not (parent.type == "arithmetic_expansion" or self.for_program(node)):
            exported = parent is not None and parent.type == "declaration_command" and self.exports(parent)
            self.assignments.append(self.assigned(node, place, exported, before_command=False))

    def exports(self, node: Node) -> bool:
        words = [self.words.text(child) for child in node.children]
        return words[0] == "export" or any(re.fullmatch(r"-\w*x\w*", word) for word in words)

    def assigned(self, node: Node, place: Place, exported: bool, before_command: bool) -> Assignment:
        name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
        word = None if value is None or value.type == "array" else self.words.word(value)
        said = _NAME.match(self.words.text(name)) if name else None
        return Assignment(said[0] if said else "", word, self.words.line(node), exported, before_command, place)

    def expansion(self, node: Node, place: Place) -> None:
        guarded = any(child.type in _GUARDS for child in node.children)
        self.reading(self.words.text(node), self.words.line(node), guarded, place)

    def reading(self, expansion: str, line: int, guarded: bool, place: Place) -> None:
        name = variable(expansion)
        if name:
            self.reads.append(Read(name, line, guarded, place))


def _within(node: Node, place: Place) -> Place:
    """The place of what stands in a node."""
    if node.type == "function_definition":
        return replace(place, function=True)
    if node.type in {"command_substitution", "process_substitution"}:
        return replace(place, substituted=True, tested=False, followed=False, piped=False, background=False)
    if node.type == "do_group":
        return replace(place, looped=True)
    if node.type == "negated_command":
        return replace(place, tested=True)
    comparing = node.type == "test_command" or (node.children and node.children[0].type == "((")
    return replace(place, comparing=True) if comparing else place


def _is_statement(node: Node) -> bool:
    return node.is_named and node.type != "comment"


def _document(node: Node) -> Node | None:
    """The here-document of a redirected command."""
    documents = (child for child in node.children if child.type == "heredoc_redirect")
    return next((body for child in documents for body in child.children if body.type == "heredoc_body"), None)


def _without(source: bytes, comments: list[Node]) -> str:
    """The text with blanks in place of the comments."""
    text = bytearray(source)
    for comment in comments:
        text[comment.start_byte : comment.end_byte] = b" " * (comment.end_byte - comment.start_byte)
    return text.decode(errors="replace")
