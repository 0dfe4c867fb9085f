"""Nothing that a rank reads is code: no pickles between ranks, none from files, no eval.

What is read here is the source, so that no test has to reach the line.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch.distributed as dist

import bertjob

TRAIN = Path(bertjob.__file__).parent / "train"
PICKLERS = {"pickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "torch.distributed.rpc"}
ERRORS = {"UnpicklingError", "PickleError"}
"""What may be used of `pickle`: readers that raise these are told to read no code."""
OBJECT_COLLECTIVES = {name for name in dir(dist) if "object" in name} | {"_object_to_tensor", "_tensor_to_object"}
MPI_PICKLES = {
    *("bcast", "gather", "scatter", "allgather", "alltoall", "reduce", "allreduce", "scan", "exscan"),
    *("send", "bsend", "ssend", "recv", "isend", "ibsend", "issend", "irecv", "sendrecv"),
}
"""Methods of mpi4py that send pickles; those that send buffers begin with a capital."""
SERVERS = {"Listener", "Client", "BaseManager", "SyncManager", "Manager"}
"""Of multiprocessing: they unpickle what comes over a socket. Pipes to own children are no network."""


def faults(source: str) -> Iterator[str]:
    """What in a module could run code that came from elsewhere."""
    tree = ast.parse(source)
    imported = set(_imports(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in PICKLERS:
            yield from (f"from {node.module} import {one.name}" for one in node.names if one.name not in ERRORS)
        elif isinstance(node, ast.Import):
            yield from (
                f"import {one.name}"
                for one in node.names
                if one.name in PICKLERS - {"pickle"} or one.asname == "pickle"
            )
            yield from (f"import pickle as {one.asname}" for one in node.names if one.name == "pickle" and one.asname)
        elif isinstance(node, ast.Attribute):
            yield from _attribute(node, uses_mpi="mpi4py" in imported)
        elif isinstance(node, ast.Name) and node.id in OBJECT_COLLECTIVES | {"eval", "exec"}:
            yield node.id
        elif isinstance(node, ast.ImportFrom):
            yield from (one.name for one in node.names if one.name in OBJECT_COLLECTIVES | SERVERS)
        if isinstance(node, ast.Call):
            yield from _call(node)


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (one.name.partition(".")[0] for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def _attribute(node: ast.Attribute, *, uses_mpi: bool) -> Iterator[str]:
    owner = ast.unparse(node.value)
    if (owner == "pickle" and node.attr not in ERRORS) or node.attr in OBJECT_COLLECTIVES | SERVERS:
        yield f"{owner}.{node.attr}"
    if (
        uses_mpi
        and node.attr in MPI_PICKLES
        and owner.rpartition(".")[2].strip("_").lower() in ("comm", "comm_world", "comm_self")
    ):
        yield f"{owner}.{node.attr}"


def _call(node: ast.Call) -> Iterator[str]:
    name = ast.unparse(node.func)
    said = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
    if name in ("torch.load", "torch.jit.load") and said.get("weights_only") != "True":
        yield f"{name} without weights_only=True"
    for keyword, harmless in (("allow_pickle", "False"), ("trust_remote_code", "False"), ("weights_only", "True")):
        if said.get(keyword, harmless) != harmless:
            yield f"{name}({keyword}={said[keyword]})"


@pytest.mark.parametrize("path", sorted(TRAIN.rglob("*.py")), ids=lambda path: str(path.relative_to(TRAIN)))
def test_no_module_of_the_training_reads_code(path: Path) -> None:
    assert list(faults(path.read_text())) == []


@pytest.mark.parametrize(
    "line",
    [
        "import dill",
        "import pickle as p",
        "from pickle import loads",
        "import pickle; pickle.loads(b'')",
        "import torch.distributed.rpc",
        "dist.all_gather_object(found, value)",
        "dist.broadcast_object_list([1])",
        "torch.distributed.scatter_object_list([], [])",
        "from torch.distributed import gather_object",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
        "from mpi4py import MPI; MPI.COMM_WORLD.allreduce(1)",
        "from multiprocessing.connection import Listener",
        "multiprocessing.Manager()",
        "eval(text)",
    ],
)
def test_what_is_forbidden_is_found(line: str) -> None:
    assert list(faults(line))


@pytest.mark.parametrize(
    "line",
    [
        "import pickle\ntry: pass\nexcept pickle.UnpicklingError: pass",
        "torch.load(path, weights_only=True)",
        "np.load(path, mmap_mode='r')",
        "from mpi4py import MPI; MPI.COMM_WORLD.Allreduce(a, b)",
        "ranks.gather(1, int)",
        "model.eval()",
    ],
)
def test_what_is_harmless_is_let_be(line: str) -> None:
    assert list(faults(line)) == []
