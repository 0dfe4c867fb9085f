"""The shape of the tree in figures: ``python -m tests.shape``; tests/test_shape.py holds them to their limits."""

import ast
import statistics
import tomllib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.calls import count

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "bertjob"
SMALL = 60
"""Lines below which a module is small."""
_MARKER = 5
"""Lines up to which an `__init__.py` only marks its folder as a package, and is not counted."""
SHARED_STEMS: Mapping[str, str] = {
    "__main__": "entry point",
    "main": "entry point",
    "evaluate": "implementation of one protocol: train.tasks.Task",
    "task": "implementation of one protocol: train.tasks.Task",
    "tasks": "parts of one registry: its rows, the checks that they name, the protocol of their code",
    "launchers": "the two halves of one registry",
    "provenance": "the two halves of one contract: the file, and what the login node writes into it",
    "lamb": "one optimizer and its 1-bit form, behind one protocol",
}
"""Stems that several modules may have, with the reason; beside verbs, which are named as what they call."""


@dataclass(frozen=True)
class Module:
    """One file of the package."""

    path: Path
    lines: int
    importers: frozenset[str]
    in_a_row: bool

    @property
    def name(self) -> str:
        """Path below the package, as people write it."""
        return self.path.relative_to(PACKAGE).as_posix()

    @property
    def stem(self) -> str:
        """What it is about: the name of the file, or of the folder whose `__init__.py` it is."""
        return self.path.parent.name if self.path.stem == "__init__" else self.path.stem

    @property
    def is_entry(self) -> bool:
        """Whether something reaches it by its name: a row of a table, people, or programs."""
        return self.in_a_row or self.is_verb or self.path.name in ("__init__.py", "__main__.py", "api.py")

    @property
    def is_verb(self) -> bool:
        """Whether it belongs to a verb of the command line."""
        return self.name.startswith("cli/verbs/")


def modules() -> tuple[Module, ...]:
    """All modules that count: not the `__init__.py` files that only mark a package."""
    paths = sorted(PACKAGE.rglob("*.py"))
    importers, in_rows = _importers(paths)
    counted = ((path, len(path.read_text().splitlines())) for path in paths)
    return tuple(
        Module(path, lines, frozenset(importers[_dotted(path)]), _dotted(path) in in_rows)
        for path, lines in counted
        if path.name != "__init__.py" or lines > _MARKER
    )


def repeated_stems(found: tuple[Module, ...]) -> dict[str, list[str]]:
    """Stems of several modules without a reason; a verb may share the name of what it calls."""
    by_stem: dict[str, list[str]] = defaultdict(list)
    for module in found:
        if not module.is_verb and not _is_core(module):
            by_stem[module.stem].append(module.name)
    return {stem: names for stem, names in by_stem.items() if len(names) > 1 and stem not in SHARED_STEMS}


def lonely(found: tuple[Module, ...]) -> list[str]:
    """Small modules with one importer, which belong in that importer."""
    return [
        module.name for module in found if module.lines < SMALL and len(module.importers) == 1 and not module.is_entry
    ]


def exceptions() -> int:
    """Imports that import-linter's contracts let pass."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    return sum(len(contract.get("ignore_imports", ())) for contract in contracts)


def per_submission() -> Mapping[str, int]:
    """How often `bertjob submit` reads its job and plans it."""
    from click.testing import CliRunner

    from bertjob.cli.main import cli
    from bertjob.config.load import build_job, read_job_file
    from bertjob.launch.plan import plan

    words = ("submit", "squad-demo", "--set", "squad-demo:seed=1", "--dry-run")
    return count(lambda: CliRunner().invoke(cli, words, catch_exceptions=False), read_job_file, build_job, plan)


def _is_core(module: Module) -> bool:
    """Whether it is the module that its package is named for: port/port.py."""
    return module.path.stem == module.path.parent.name


def _dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _importers(paths: list[Path]) -> tuple[dict[str, set[str]], set[str]]:
    """The modules that import each module, anywhere in their text; and those that a row names as "module:function"."""
    known = {_dotted(path) for path in paths}
    found: dict[str, set[str]] = defaultdict(set)
    in_rows: set[str] = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module in known:
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    found[whole if whole in known else node.module].add(_dotted(path))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):  # "module:function", -m module
                module = node.value.partition(":")[0]
                if module in known:
                    found[module].add(_dotted(path))
                    in_rows |= {module} if ":" in node.value else set()
    return found, in_rows


def main() -> None:
    """Print the figures."""
    found = modules()
    lines = [module.lines for module in found]
    small = sum(count < SMALL for count in lines)
    longest = max(found, key=lambda module: module.lines)
    print(f"files                      {len(found)}")
    print(f"median lines               {statistics.median(lines):.0f}")
    print(f"under {SMALL} lines             {small} ({100 * small / len(found):.0f} %)")
    print(f"longest                    {longest.lines} ({longest.name})")
    print(f"import exceptions          {exceptions()}")
    calls = ", ".join(f"{number} {name}" for name, number in per_submission().items())
    print(f"calls of a submission      {calls}")
    print(f"stems of several subjects  {len(repeated_stems(found))}")
    for stem, names in repeated_stems(found).items():
        print(f"  {stem}: {', '.join(names)}")
    print(f"small, with one importer   {len(lonely(found))}")
    for name in lonely(found):
        print(f"  {name}")


if __name__ == "__main__":
    main()
