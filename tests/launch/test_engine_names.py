"""What is known of an engine is in its row: no other module of bertjob knows one by name."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from bertjob.config.job import Engine
from bertjob.launch.engines import ENGINES, containers

PACKAGE = Path(__file__).resolve().parents[2] / "bertjob"
OWN = ("launch/engines/", "config/job.py")
"""Where names of engines belong: the rows, and the Literal of the names that a job may have."""


def names() -> list[str]:
    """Engines, their programs and the tools of their images."""
    found = set(containers()).union(*(row.programs for row in containers().values()))
    return sorted(found, key=len, reverse=True)


def literals(tree: ast.AST) -> Iterator[ast.Constant]:
    """Strings of the code; neither docstrings nor help of the command line, which may give examples."""
    nodes = list(ast.walk(tree))
    prose = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    prose |= {id(node.value) for node in nodes if isinstance(node, ast.keyword) and node.arg == "help"}
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node


def test_the_names_in_a_job_file_are_those_of_the_table() -> None:
    assert get_args(Engine) == tuple(ENGINES)


def test_no_other_module_knows_an_engine_by_name() -> None:
    named = re.compile(rf"(?<![\w.-])(?:{'|'.join(map(re.escape, names()))})(?![\w-]|\\?\.\w)")
    found = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}: {node.value!r}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if not path.relative_to(PACKAGE).as_posix().startswith(OWN)
        for node in literals(ast.parse(path.read_text(encoding="utf-8")))
        if named.search(str(node.value))
    ]
    assert found == []


def test_every_engine_has_an_example() -> None:
    texts = "\n".join(path.read_text(encoding="utf-8") for path in (PACKAGE.parent / "slurm/examples").iterdir())
    assert [name for name in containers() if not re.search(rf"^engine: {name}$", texts, re.MULTILINE)] == []
