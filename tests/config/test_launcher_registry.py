"""The registry of launchers: its names are those that a job may say, its code is there, and nothing else knows them."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

import bertjob
from bertjob.config.job import Launcher
from bertjob.config.registry.code import load_code
from bertjob.config.registry.launchers import LAUNCHERS, agents, programs, rank_variables

PACKAGE = Path(bertjob.__file__).parent
HOMES = (
    "config/registry/launchers.py",
    "config/registry/launcher_programs.py",
    "config/job.py",  # the Literal
    "launch/launchers.py",
    "launch/pmi.py",
)
"""Where launchers, their programs and their variables have their names."""
OTHER_MEANINGS = {
    "local": (
        ("cli/", "name of the site that stands for this machine, and id of its jobs"),
        ("launch/schedulers/__init__.py", "the launcher that belongs to a scheduler, in the scheduler's row"),
        ("lint/rules/exit_codes.py", "a word of bash"),
        ("rundir/world.py", "id of a job that no scheduler starts"),
    ),
    "srun": (
        ("config/site.py", "default of a key, of the Literal's type"),
        ("launch/schedulers/", "Slurm's own launcher, in Slurm's row and its shells"),
        ("cluster/slurm/", "a command of Slurm's, which is asked what Slurm offers"),
    ),
    "openmpi": (
        ("config/checks/", "family of an MPI library"),
        ("cluster/images/inside.py", "family of an MPI library"),
        ("cluster/new_site.py", "family of an MPI library"),
        ("launch/auto_launcher.py", "family of an MPI library"),
    ),
    "mpirun": (("cluster/images/inside.py", "asked for its version where this package is not installed"),),
    "deepspeed": (
        ("cluster/preflight.py", "the package"),
        ("config/", "the back end, and the package that optimizers need"),
        ("estimate/", "the back end"),
        ("formats/", "format of checkpoints"),
        ("rundir/image_contents.py", "the package"),
        ("train/", "the back end, the package and format of checkpoints"),
    ),
}
"""Where a launcher's name means something else, by the beginning of the path."""


def literals() -> Iterator[tuple[str, str]]:
    """Path and text of all string constants but docstrings."""
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                yield path.relative_to(PACKAGE).as_posix(), node.value


def known() -> set[str]:
    """Names of launchers and programs, and of the variables that launchers set."""
    names = {*LAUNCHERS, *(name for program in (*programs(), *agents()) for name in program.names)}
    names |= {name for variables in rank_variables() for name in variables.all}
    names |= {name for row in LAUNCHERS.values() for name in row.pmi_variables}
    return names | {name for program in programs() if program.as_root for name in program.as_root.variables}


def test_the_literal_names_the_rows_in_their_order() -> None:
    assert get_args(Launcher) == ("auto", *LAUNCHERS)


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_the_code_of_a_row_is_there(launcher: Launcher) -> None:
    row = LAUNCHERS[launcher]
    assert callable(load_code(row.command))
    assert callable(load_code(row.predict))
    assert all(load_code(program.grammar) for program in programs() if program.grammar)


def test_no_two_launchers_are_equally_good() -> None:
    assert len({row.preference for row in LAUNCHERS.values()}) == len(LAUNCHERS)


def test_launchers_are_named_nowhere_else() -> None:
    names = known()
    found = {(path, text) for path, text in literals() if text in names and not path.startswith(HOMES)}
    assert [
        (path, text)
        for path, text in sorted(found)
        if not path.startswith(tuple(beginning for beginning, _ in OTHER_MEANINGS.get(text, ())))
    ] == []


def test_every_other_meaning_is_still_needed() -> None:
    found = list(literals())
    unused = [
        (text, beginning)
        for text, meanings in OTHER_MEANINGS.items()
        for beginning, _ in meanings
        if not any(said == text and path.startswith(beginning) and path not in HOMES for path, said in found)
    ]
    assert unused == []
