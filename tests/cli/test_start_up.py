"""The login node's side stays light: what each command imports is part of its contract."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "deepspeed", "numpy", "submitit", "rich")


def modules_after(*arguments, of=HEAVY):
    """The names of `of` that are in sys.modules when a command line ends."""
    code = (
        "import sys\n"
        "from bertjob.cli.main import cli\n"
        f"cli.main({list(arguments)!r}, standalone_mode=False)\n"
        f"print('LOADED', *[name for name in {of!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1].split()[1:]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("submit", "--help"),
        ("script", "squad", "--nodes", "8"),
        ("script", "squad", "--nodes", "8", "--site", "daint"),
        ("schema", "job"),
        ("jobs", "squad", "--json"),
        ("eval", "--help"),
        ("data", "--help"),
        ("doctor", "--help"),
        ("sites", "generic"),
    ],
)
def test_commands_of_the_login_node_load_nothing_heavy(arguments):
    assert modules_after(*arguments) == []


def test_a_plan_is_made_without_the_index_of_runs_and_the_schedulers_commands():
    index = ("sqlite3", "bertjob.cluster.runs.index", "bertjob.cluster.scheduler")
    assert modules_after("script", "squad", "--nodes", "8", of=index) == []


def test_importing_bertjob_loads_nothing():
    code = "import sys, bertjob; print(sorted(name for name in sys.modules if name.startswith('bertjob')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['bertjob', 'bertjob.version']"
