"""A complaint about a key names the place that says it: a file with its line, or an option; else the site."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from bertjob.cli.main import cli


def test_a_complaint_names_the_file_that_says_its_key_and_the_site_only_where_that_is_the_sites(tmp_path: Path) -> None:
    file = tmp_path / "j.yaml"
    file.write_text(
        "base: smoke\nname: j\nenv:\n  GOOD: x\n  RANDOM: y\nengine: podman\nimage: {ref: UPPER}\nseed: 1\n"
    )
    settings = ("env.UID=1", "resources.nodes=9", "resources.time=5")
    done = CliRunner().invoke(cli, ["script", str(file), "--site", "local", *(f"--set={one}" for one in settings)])
    assert str(done.exception).split("; ") == [
        f"{file}:5: env: RANDOM belongs to bash",
        "--set env.UID=1: env: UID belongs to bash",
        f"{file}:7: image.ref: 'UPPER' is not in lower case, as names of images are: upper",
        "site local: resources.nodes is 9, but without a scheduler there is this one machine",
    ]


JOBS = {
    "script": "data: {train: demo, dev: demo}\nmodel: {init: random}\n",
    "shell": "env: {RANDOM: x}\n",
}


@pytest.mark.parametrize(
    ("verb", "told"),
    [("script", "4: model.init random needs model.vocab"), ("shell", "3: env: RANDOM belongs to bash")],
)
def test_what_is_wrong_with_the_job_itself_names_its_file_too(tmp_path: Path, verb: str, told: str) -> None:
    file = tmp_path / "j.yaml"
    file.write_text(f"base: squad\nname: j\n{JOBS[verb]}")
    done = CliRunner().invoke(cli, [verb, str(file), "--site", "local"])
    assert str(done.exception).startswith(f"{file}:{told}")
