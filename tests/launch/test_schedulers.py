"""The two tables of schedulers: their names are those that a site may say, and nothing else knows them."""

import ast
import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_type_hints

import click
import msgspec
import pytest

import bertjob
from bertjob.cli.options import one_word_each
from bertjob.cluster.scheduler import CLIENTS
from bertjob.config.job import Resources
from bertjob.config.load import load_job
from bertjob.config.registry.code import load_code
from bertjob.config.registry.launchers import LAUNCHERS
from bertjob.config.site import Site
from bertjob.errors import SpecError
from bertjob.launch.schedulers import SCHEDULERS, sbatch_options

PACKAGE = Path(bertjob.__file__).parent
HOMES = ("launch/schedulers/", "cluster/slurm/", "cluster/scheduler.py")
NAMED = re.compile(r"schedul|SCHEDULERS|CLIENTS|slurm", re.IGNORECASE)
"""What an expression about a scheduler has in it."""


def test_the_names_in_a_site_file_are_those_of_both_tables() -> None:
    said = set(get_args(get_type_hints(Site)["scheduler"]))
    assert said == set(SCHEDULERS) == set(CLIENTS)
    assert said >= {name for row in LAUNCHERS.values() for name in row.schedulers or ()}


def test_the_checks_of_a_scheduler_are_there() -> None:
    codes = [client.checks for client in CLIENTS.values() if client.checks]
    assert all(isinstance(load_code(code), tuple) for code in codes)


def test_a_scheduler_with_a_queue_has_all_that_a_queue_needs() -> None:
    for scheduler in SCHEDULERS.values():
        if scheduler.queues:
            assert scheduler.after((), "7", "")
            assert scheduler.excluding((), ("n1",))
            assert scheduler.job_id.startswith('"$')


@pytest.mark.parametrize(
    ("said", "left_out"),
    [
        ((), "n9"),
        (("--exclude=n1,n2", "-xn3"), "n3,n9"),
        (("-xn3", "--exclude=n1,n2"), "n1,n2,n9"),
        (("--exclud=n1",), "n1,n9"),
        (("--exclusive", "--comment=-xn1"), "n9"),
    ],
)
def test_nodes_are_left_out_beside_those_of_the_last_option_that_says_some(
    said: tuple[str, ...], left_out: str
) -> None:
    assert SCHEDULERS["slurm"].excluding(said, ["n9"]) == (f"--exclude={left_out}",)


@pytest.mark.parametrize(
    ("said", "waits_for"),
    [
        ((), "afterok:7"),
        (("--dependency=afterany:5",), "afterany:5,afterok:7"),
        (("-dsingleton",), "singleton,afterok:7"),
        (("--depend=afterok:3:4",), "afterok:3:4,afterok:7"),
        (("--dependency=afterok:3?afterok:4",), "afterok:7"),
    ],
)
def test_a_job_of_a_chain_waits_for_what_the_user_said_as_well(said: tuple[str, ...], waits_for: str) -> None:
    assert SCHEDULERS["slurm"].after(said, "7", "daint")[-1] == f"--dependency={waits_for}"


def test_nodes_are_named_in_every_form_that_sbatch_takes() -> None:
    assert all(SCHEDULERS["slurm"].names_nodes((word,)) for word in ("--nodelist=n1", "-wn1", "--nodel=n1", "-Hwn1"))
    assert not SCHEDULERS["slurm"].names_nodes(("--nodefile=n1", "--comment=-wn1"))


def branches(source: str) -> Iterator[str]:
    """Expressions that tell schedulers apart by their names, and flags that carry the answer through signatures."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare | ast.Subscript | ast.Match):
            names = {one.value for one in ast.walk(node) if isinstance(one, ast.Constant)} & set(SCHEDULERS)
            others = [ast.unparse(one) for one in ast.walk(node) if isinstance(one, ast.Name | ast.Attribute)]
            if names and any(NAMED.search(other) for other in others):
                yield ast.unparse(node)
        elif isinstance(node, ast.arg) and node.arg.lower() in SCHEDULERS:
            yield f"{node.arg}: {ast.unparse(node.annotation) if node.annotation else '?'}"


def test_nothing_else_tells_schedulers_apart_by_their_names() -> None:
    found = {
        path.relative_to(PACKAGE).as_posix(): said
        for path in PACKAGE.rglob("*.py")
        if not path.relative_to(PACKAGE).as_posix().startswith(HOMES) and (said := list(branches(path.read_text())))
    }
    assert found == {}


def test_the_search_finds_what_it_is_for() -> None:
    source = """
        def head(plan: Plan, slurm: bool) -> str:
            if site.scheduler == "slurm" or "none" != plan.site.scheduler:
                return ""
            if plan.engine == "none" or kind in ("none", "pmix"):
                return SCHEDULERS["slurm"].where
            match site.scheduler:
                case "none":
                    return ""
            return "x" if scheduler in ("slurm",) else SCHEDULERS[site.scheduler].where
    """
    assert set(branches(textwrap.dedent(source))) == {
        "slurm: bool",
        "site.scheduler == 'slurm'",
        "'none' != plan.site.scheduler",
        "SCHEDULERS['slurm']",
        "match site.scheduler:\n    case 'none':\n        return ''",
        "scheduler in ('slurm',)",
    }


@pytest.mark.parametrize("word", [":", "hetjob", "packjob", "--hetjob", "HetJob"])
def test_a_heterogeneous_job_is_refused_as_such(word: str) -> None:
    (said,) = SCHEDULERS["slurm"].option_problems(("--mail-type=END", word))
    assert said.endswith("bertjob starts no heterogeneous job: its ranks are alike on all nodes")
    with pytest.raises(click.UsageError, match="bertjob starts no heterogeneous job"):
        one_word_each(["--exclusive", word, "-q", "x"])


@pytest.mark.parametrize(
    ("size", "megabytes"),
    [("64000", 64000), ("64G", 65536), ("64gb", 65536), ("1T", 1 << 20), ("0", 0), ("+5", 5), ("512K", 0.5)],
)
def test_sizes_of_memory_are_read_as_sbatch_reads_them(size: str, megabytes: float) -> None:
    assert sbatch_options.megabytes(size) == megabytes
    assert msgspec.convert({"mem": size}, Resources).mem == size


@pytest.mark.parametrize("size", ["64.5G", "64 G", "64GiB", "1P", "-5", "abc", "10x", "1Gx", "100B", "1 ", "1G\n", ""])
def test_sizes_that_sbatch_does_not_take_are_refused_where_they_stand(size: str, tmp_path: Path) -> None:
    assert sbatch_options.megabytes(size) is None
    setting = f"resources.mem={json.dumps(size)}"
    with pytest.raises(SpecError, match=r"resources\.mem: a whole number of MB, or one with K, M, G or T behind it"):
        load_job("smoke", [setting])
