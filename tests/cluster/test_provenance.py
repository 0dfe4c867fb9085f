"""provenance.json and git.diff, made from real checkouts."""

import subprocess
from pathlib import Path

import msgspec
import pytest

import bertjob
from bertjob.cluster.runs import provenance
from bertjob.rundir.provenance import Provenance, Repository, encode


def git(folder: Path, *arguments: str) -> str:
    settings = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    return subprocess.run(
        ["git", "-C", folder, *settings, *arguments], check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    git(tmp_path, "init")
    (tmp_path / "train.py").write_text("lr = 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    return tmp_path


def test_a_clean_checkout_is_its_commit(checkout: Path) -> None:
    found = provenance.repository(checkout / "sub")
    commit = git(checkout, "rev-parse", "HEAD").strip()
    assert found == Repository(path=str(checkout), commit=commit, branch="main", dirty=False)
    assert provenance.git_diff(checkout) == b""


def test_what_is_not_committed_is_a_patch_that_applies(checkout: Path) -> None:
    (checkout / "train.py").write_text("lr = 2\n")
    found = provenance.repository(checkout)
    assert found is not None
    assert found.dirty
    (checkout.parent / "git.diff").write_bytes(provenance.git_diff(checkout / "sub"))
    git(checkout, "checkout", "train.py")
    git(checkout, "apply", str(checkout.parent / "git.diff"))
    assert (checkout / "train.py").read_text() == "lr = 2\n"


def test_a_detached_head_has_no_branch(checkout: Path) -> None:
    git(checkout, "checkout", "--detach")
    found = provenance.repository(checkout)
    assert found is not None
    assert (found.branch, len(found.commit)) == ("", 40)


def test_a_repository_without_commits_has_no_commit(tmp_path: Path) -> None:
    git(tmp_path, "init")
    found = provenance.repository(tmp_path)
    assert found is not None
    assert (found.commit, found.branch) == ("", "main")
    assert provenance.git_diff(tmp_path) == b""


def test_no_repository_and_no_git_are_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert provenance.repository(tmp_path) is None
    assert provenance.git_diff(tmp_path) == b""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.repository(Path(bertjob.__file__).parent) is None
    assert provenance.collect("squad", "daint", None).git is None


def test_a_package_inside_of_a_foreign_checkout_is_not_that_checkout(checkout: Path) -> None:
    assert provenance.repository(checkout, own="bertjob/__init__.py") is None
    assert provenance.repository(checkout, own="train.py") is not None


def test_the_command_can_be_given_again(checkout: Path) -> None:
    made = provenance.collect("squad", "daint", "nvcr.io/x:1", ["bertjob", "submit", "a'b $(x)"])
    assert made.command == "bertjob submit 'a'\"'\"'b $(x)'"
    assert made.git is not None
    assert made.git.path == str(checkout)
    assert msgspec.json.decode(encode(made), type=Provenance) == made
    assert made.bertjob == bertjob.__version__
