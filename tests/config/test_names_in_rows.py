"""Names of optimizers and of formats of weights are known to their tables alone; all other code asks a row."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bertjob.config.registry.optimizers import OPTIMIZERS
from bertjob.formats.pretrained import FORMATS

PACKAGE = Path(__file__).resolve().parents[2] / "bertjob"
AMBIGUOUS = {"deepspeed": "the package, back end and launcher", "bertjob": "this package"}
"""Formats that are named like other things: they are looked for only beside a mention of ``ckpt_type``."""
HOMES = ("config/registry/optimizers.py", "config/job.py", "train/optim/", "formats/pretrained.py")
"""The tables, the Literals with their default, and the algorithms themselves."""
OTHERS = {
    ("train/model/formats/tensorflow.py", "lamb"): "what Google's optimizers call their own tensors",
    ("train/model/formats/tensorflow.py", "tf"): "the module tf.train of TensorFlow",
}
"""The same words for other things, with the reason."""


def modules() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if not name(path).startswith(HOMES)]


def name(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def strings(tree: ast.AST) -> Iterator[str]:
    """The string constants of a module, those in f-strings included, without docstrings."""
    prose = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.value


def words(texts: Iterator[str], wanted: set[str]) -> set[str]:
    pattern = re.compile(rf"(?<![\w-])({'|'.join(map(re.escape, wanted))})(?![\w-])")
    return {found for text in texts for found in pattern.findall(text)}


def compared(tree: ast.AST) -> Iterator[str]:
    """The string constants that are compared with, or passed as, a ``ckpt_type``."""
    for node in ast.walk(tree):
        whole = isinstance(node, ast.Compare | ast.Match | ast.keyword) and "ckpt_type" in ast.unparse(node)
        made = isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Pretrained")
        if whole or made:
            yield from strings(node)


@pytest.mark.parametrize("path", modules(), ids=name)
def test_no_other_module_names_an_optimizer_or_a_format_of_weights(path: Path) -> None:
    tree = ast.parse(path.read_text())
    found = words(strings(tree), {*OPTIMIZERS, *FORMATS} - AMBIGUOUS.keys()) | words(compared(tree), set(FORMATS))
    assert {word for word in found if (name(path), word) not in OTHERS} == set()


@pytest.mark.parametrize(("module", "word"), OTHERS)
def test_each_exception_is_still_needed(module: str, word: str) -> None:
    assert word in words(strings(ast.parse((PACKAGE / module).read_text())), {word})


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ('if job.optimizer.name == "lamb": pass', {"lamb"}),
        ('f"optimizer fused-lamb needs {x}"', {"fused-lamb"}),
        ('load(model.ckpt_type == "deepspeed")', {"deepspeed"}),
        ('Pretrained("bertjob", folder, file)', {"bertjob"}),
        ('def f():\n    """Of adamw."""\n    return backend == "deepspeed"', set()),
    ],
)
def test_the_search_finds_what_it_looks_for(code: str, found: set[str]) -> None:
    tree = ast.parse(code)
    assert words(strings(tree), {*OPTIMIZERS} | {"hf", "tf"}) | words(compared(tree), set(FORMATS)) == found
