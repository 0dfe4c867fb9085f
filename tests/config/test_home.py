"""A user without HOME and without an entry in passwd, as in containers that are given a number."""

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from bertjob.cli.main import cli
from bertjob.cluster.runs.index import state_folder
from bertjob.config.home import expand, give_home, home
from bertjob.errors import BertjobError, SpecError

NOBODY = 54321


@pytest.fixture
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process' user is a number."""

    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for name in ("HOME", "LOGNAME", "USER", "LNAME", "USERNAME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("nobody")
def test_the_working_directory_stands_for_a_home_that_is_missing(tmp_path: Path) -> None:
    assert home() == expand("~") == tmp_path
    assert expand("~/a") == tmp_path / "a"
    assert expand("/b") == Path("/b")
    assert state_folder().is_relative_to(tmp_path)
    with pytest.raises(SpecError, match="there is no user 'nobody-at-all'"):
        expand("~nobody-at-all/c")


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize(
    "words",
    [
        ["jobs"],
        ["jobs", "smoke"],
        ["sites"],
        ["status"],
        ["clean"],
        ["script", "smoke"],
        ["run", "smoke", "--dry-run"],
        ["doctor", "smoke", "--site", "local"],
        ["estimate", "squad", "--gpus-per-node", "1"],
        ["data", "info", "~/nowhere"],
        ["lint", "~/nowhere"],
        ["logs", "nosuch"],
        ["cancel", "nosuch"],
        ["wait", "nosuch"],
        ["image", "list", "--site", "local"],
    ],
)
def test_every_verb_works_or_says_in_one_line_why_not(words: list[str]) -> None:
    failed = CliRunner().invoke(cli, words).exception
    assert failed is None or isinstance(failed, BertjobError | SystemExit), failed


@pytest.mark.usefixtures("nobody")
def test_libraries_are_given_a_home_of_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    given: dict[str, str] = {}
    give_home(given)
    assert given == {"LOGNAME": str(os.getuid()), "HOME": str(tmp_path / f"bertjob-home-{os.getuid()}")}
    give_home(given)
    Path(given["HOME"]).chmod(0o777)  # as one that somebody else has made
    other: dict[str, str] = {"USER": "me"}
    give_home(other)
    assert other["HOME"] != given["HOME"]
    assert not Path(other["HOME"]).stat().st_mode & 0o077


@pytest.mark.skipif(os.geteuid() != 0, reason="root can be another user")
def test_training_starts_as_a_user_without_a_name(tmp_path: Path) -> None:
    os.chown(tmp_path, NOBODY, NOBODY)
    caps = "+dac_override,+dac_read_search"  # this checkout may be root's alone
    command = f"setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups --inh-caps={caps} --ambient-caps={caps} env -i"
    bertjob = str(Path(sys.executable).with_name("bertjob"))
    done = subprocess.run(
        [*command.split(), f"PATH={os.defpath}", f"TMPDIR={tmp_path}", bertjob, "run", "smoke", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [".local", f"bertjob-home-{NOBODY}", "runs"]
