"""The documents are tested: they name what there is, and nothing else."""

import ast
import re
import shlex
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

import bertjob
from bertjob.cli.main import cli
from bertjob.cli.verbs import VERBS
from bertjob.config.reference import KINDS, reference
from bertjob.config.search import names
from bertjob.train.schedule import DECAYS
from tests import schedules_page

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("jobs/*.md")) + sorted(ROOT.glob("slurm/**/*.md"))
README = (ROOT / "README.md").read_text()
REFERENCES = {"job": ROOT / "jobs/KEYS.md", "site": ROOT / "slurm/sites/KEYS.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_in_the_readme(verb):
    assert f"bertjob {verb}" in README


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_says_in_its_help_what_the_list_says(verb):
    command = cli.get_command(None, verb)
    assert command.name == verb
    assert command.help.splitlines()[0] == VERBS[verb]
    assert CliRunner().invoke(cli, [verb, "--help"]).exit_code == 0


def test_the_readme_calls_only_verbs_that_exist():
    called = set(re.findall(r"^\s*(?:\$ )?bertjob ([a-z]+)", README, flags=re.MULTILINE))
    assert called
    assert called <= set(VERBS)


EXAMPLES = re.findall(r"^    bertjob (?:submit|script) (squad [^#>\n]*)", README, flags=re.MULTILINE)


@pytest.mark.parametrize("arguments", EXAMPLES)
def test_the_readmes_examples_train_on_gpus(arguments):
    done = CliRunner().invoke(cli, ["script", *shlex.split(arguments)], env={"BERTJOB_SITE": ""})
    assert done.exit_code == 0, done.output
    assert "GPU" not in done.stderr


ESTIMATES = re.findall(r"^    bertjob (estimate [^#>\n]*)", README, flags=re.MULTILINE)


@pytest.mark.parametrize("arguments", ESTIMATES)
def test_the_readmes_estimates_are_made(arguments):
    done = CliRunner().invoke(cli, shlex.split(arguments), env={"BERTJOB_SITE": ""})
    assert done.exit_code == 0, done.output
    assert "node-hours" in done.output
    assert ("times as fast as Adam" in done.output) == ("onebit" in arguments)


def test_the_readme_names_its_two_commands():
    assert "make squad" in README
    assert "make test" in README


@pytest.mark.parametrize("kind", KINDS)
def test_the_reference_of_keys_is_up_to_date(kind):
    assert REFERENCES[kind].read_text() == reference(kind), "run `make regen`"


SCHEDULES = schedules_page.files()


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_page_of_schedules_and_its_plots_are_up_to_date(name):
    assert (ROOT / "jobs" / name).read_text() == SCHEDULES[name], "run `make regen`"


def test_the_page_of_schedules_shows_each_of_them_as_a_drawing_that_can_be_read():
    page = SCHEDULES["schedules.md"]
    assert all(f"name: {name}" in page for name in DECAYS)
    shown = set(re.findall(r"\]\((schedules/.*)\)", page))
    assert {path.relative_to(ROOT / "jobs").as_posix() for path in (ROOT / "jobs/schedules").iterdir()} == shown
    for name in shown:
        root = ElementTree.fromstring(SCHEDULES[name])
        assert root.findall("{*}path")
        assert all(0 <= float(text.get("x")) <= 720 for text in root.findall("{*}text"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_has_its_text(kind):
    assert all(line.split("|")[-2].strip() for line in reference(kind).splitlines() if line.startswith("| `"))


def test_every_job_is_in_the_readme():
    assert all(f"`{name}`" in README for name in names("job"))


def test_every_site_is_in_the_readme():
    assert all(f"`{name}`" in README for name in names("site"))


def test_exports_are_sorted_and_there():
    assert bertjob.__all__ == sorted(bertjob.__all__)
    assert all(callable(getattr(bertjob, name)) for name in bertjob.__all__)


@pytest.mark.parametrize(
    "module", sorted((ROOT / "bertjob").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_every_module_says_what_it_is_for(module):
    assert ast.get_docstring(ast.parse(module.read_text())), module
