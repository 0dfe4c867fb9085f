"""The locks of the image: what they hold, and that nothing else gets into it."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner
from fakes.commands import Commands
from indices import HTML, page_html, serving, sha256, wheel
from packaging.requirements import Requirement

from bertjob.cli.main import cli
from bertjob.cluster.images import build, locks
from bertjob.errors import SpecError

ROOT = Path(__file__).resolve().parents[3]
CONTAINER = ROOT / "container"
NAMES = sorted(path.name for path in CONTAINER.glob("*.lock"))
DOCKERFILE = re.sub(r"\\\n *", "", (CONTAINER / "Dockerfile").read_text())
GOOD, BAD = wheel("one", "1.0"), wheel("one", "1.0", "evil")


def write_lock(path: Path, content: bytes, index: str = locks.PYPI) -> Path:
    path.write_text(f"--index-url {index}\n--only-binary :all:\none==1.0 \\\n    --hash=sha256:{sha256(content)}\n")
    return path


@pytest.mark.parametrize("name", NAMES)
def test_every_package_has_hashes_and_every_lock_one_index(name: str) -> None:
    text = (CONTAINER / name).read_text()
    lock = locks.read_lock(CONTAINER / name)
    assert lock.pins
    assert all(pin.hashes for pin in lock.pins)
    assert len(lock.pins) == len(re.findall(r"(?m)^[A-Za-z0-9]", text))
    assert lock.index == ("https://download.pytorch.org/whl/cpu" if "torch" in name else locks.PYPI)
    assert set(re.findall(r"(?m)^--[\w-]+", text)) <= {"--index-url", "--only-binary", "--no-binary"}


def test_every_lock_is_installed_by_a_variant() -> None:
    assert {name for names in locks.VARIANTS.values() for name in names} == set(NAMES)
    assert all(name in DOCKERFILE for name in locks.OVERLAY)
    assert "for part in cpu torch; do" in DOCKERFILE


def test_locks_pin_all_that_training_needs_within_its_bounds() -> None:
    pins = {pin.name: pin.version for name in NAMES for pin in locks.read_lock(CONTAINER / name).pins}
    everything = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = everything["project"]
    extras = project["optional-dependencies"]
    wanted = [*everything["build-system"]["requires"], *project["dependencies"], *extras["train"], *extras["demo"]]
    for requirement in map(Requirement, wanted):
        if requirement.name != "bertjob":
            assert requirement.specifier.contains(pins[locks.canonical(requirement.name)]), requirement


def test_locks_that_share_a_package_agree() -> None:
    pins = [pin for name in NAMES for pin in locks.read_lock(CONTAINER / name).pins]
    assert len({pin.name for pin in pins}) == len(set(pins))


def test_every_pip_of_the_dockerfile_compares_hashes_or_asks_no_index() -> None:
    calls = re.findall(r"python3 -m pip (?:install|download|wheel)[^;&|\n]*", DOCKERFILE)
    assert len(calls) == 7
    for call in calls:
        assert ("--require-hashes" in call and "--requirement" in call) != ("--no-index" in call), call
        assert "--no-deps" in call
    assert "EXTRA_INDEX" not in DOCKERFILE


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("--index-url {0}\none==1.0\n", "one==1.0"),
        ("--index-url {0}\none>=1.0 --hash=sha256:{1}\n", "one>=1.0"),
        ("--index-url {0}\none==1.0 --hash=md5:{1}\n", "one==1.0"),
        ("--index-url {0}\none==1.0 --hash=sha256:{1}0\n", "one==1.0"),
        ("--index-url {0}\none @ https://there.example/one.whl --hash=sha256:{1}\n", "one @"),
        ("--index-url {0}\n--extra-index-url {0}\none==1.0 --hash=sha256:{1}\n", "--extra-index-url"),
        ("--index-url {0}\n--find-links {0}\n", "--find-links"),
        ("--index-url {0}\n-r more.txt\n", "-r more.txt"),
        ("--index-url {0}\n--index-url {0}\n", "one line --index-url URL, got 2"),
        ("one==1.0 --hash=sha256:{1}\n", "one line --index-url URL, got 0"),
    ],
)
def test_what_is_no_lock_is_refused(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "a.lock").write_text(text.format(locks.PYPI, "0" * 64))
    with pytest.raises(SpecError, match=re.escape(told)):
        locks.read_lock(tmp_path / "a.lock")


def test_files_in_place_of_the_index_are_those_of_the_lock(tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / GOOD[0]).write_bytes(GOOD[1])
    (files / "one-2.0-py3-none-any.whl").touch()
    (files / "other-1.0.tar.gz").touch()
    (files / "README").touch()
    lock = locks.read_lock(write_lock(tmp_path / "a.lock", GOOD[1]))
    locks.check_files(files, [lock])


@pytest.mark.parametrize("name", [GOOD[0], "One-1.0-1-cp311-cp311-linux_x86_64.whl", "one-1.0.tar.gz", "one-1.0.zip"])
def test_another_file_of_a_pinned_version_is_named_with_both_hashes(tmp_path: Path, name: str) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / "one-1.0-py2.py3-none-any.whl").write_bytes(GOOD[1])
    (files / name).write_bytes(BAD[1])
    lock = locks.read_lock(write_lock(tmp_path / "a.lock", GOOD[1]))
    with pytest.raises(SpecError) as error:
        locks.check_files(files, [lock])
    line = str(error.value)
    assert f"--wheels {files}: {name}: its SHA-256 is {sha256(BAD[1])}, and a.lock expects {sha256(GOOD[1])}: " in line
    assert f"`pip download --no-deps --require-hashes --dest {files} --requirement {tmp_path}/a.lock`" in line


def test_a_missing_file_is_named_with_what_brings_it(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    lock = locks.read_lock(write_lock(tmp_path / "a.lock", GOOD[1]))
    with pytest.raises(SpecError, match=r"files: there is no file of one==1\.0: `pip download .* brings all"):
        locks.check_files(tmp_path / "files", [lock])


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    os.mkfifo(tmp_path / "files" / GOOD[0])
    lock = locks.read_lock(write_lock(tmp_path / "a.lock", GOOD[1]))
    with pytest.raises(SpecError, match="is not a file"):
        locks.check_files(tmp_path / "files", [lock])


@pytest.mark.parametrize("words", [["build", "--cpu"], ["overlay", "--path", "/e", "--image", "b:1"]])
def test_nothing_is_started_with_a_file_that_is_not_the_locks(
    fakes: Commands, tmp_path: Path, words: list[str]
) -> None:
    fakes.make("podman")
    (tmp_path / "files").mkdir()
    (tmp_path / "files/hatchling-1.33.0-py3-none-any.whl").write_bytes(BAD[1])
    done = CliRunner().invoke(cli, ["image", *words, "--engine", "podman", "--wheels", str(tmp_path / "files")])
    assert isinstance(done.exception, SpecError)
    assert str(done.exception).count("\n") == 0
    assert f"its SHA-256 is {sha256(BAD[1])}, and requirements.build.lock expects" in str(done.exception)
    assert fakes.calls("podman") == []


@pytest.mark.parametrize(
    "words",
    [
        ["--build-arg", "PIP_EXTRA_INDEX_URL=https://more.example/simple"],
        ["--build-arg=PIP_EXTRA_INDEX_URL=https://more.example/simple"],
        ["--no-cache", "--build-arg", "PIP_EXTRA_INDEX_URL"],
    ],
)
def test_a_second_index_is_refused(fakes: Commands, words: list[str]) -> None:
    fakes.make("podman")
    done = CliRunner().invoke(cli, ["image", "build", "--engine", "podman", "--", *words])
    assert isinstance(done.exception, SpecError)
    assert "PIP_EXTRA_INDEX_URL: every lock has one index only" in str(done.exception)
    assert fakes.calls("podman") == []


def test_a_mirror_takes_pypis_place() -> None:
    mirror = "https://mirror.example/simple"
    done = CliRunner().invoke(cli, ["image", "build", "--engine", "podman", "--index", mirror, "--dry-run"])
    assert done.exit_code == 0, done.output
    assert f"PIP_INDEX_URL={mirror}" in " ".join(shlex.split(done.stdout))
    with build.context(names=locks.OVERLAY, mirror=mirror) as folder:
        found = {path.name: locks.read_lock(path).index for path in (folder / "container").glob("*.lock")}
    assert found.pop("requirements.torch.lock") == "https://download.pytorch.org/whl/cpu"
    assert set(found.values()) == {mirror}


def test_the_dockerfiles_mirrors_take_their_places(tmp_path: Path) -> None:
    (line,) = (line for line in DOCKERFILE.splitlines() if line.startswith("RUN if [ -n"))
    for name in NAMES:
        (tmp_path / name).write_text((CONTAINER / name).read_text())
    mirrors = {"PIP_INDEX_URL": "https://a.example/simple", "TORCH_INDEX_URL": "https://b.example/whl"}
    for said in ({}, mirrors):
        script = line.removeprefix("RUN ").replace("/build/", f"{tmp_path}/")
        subprocess.run(["sh", "-ec", script], env={**os.environ, **said}, check=True)
        for name in NAMES:
            own = locks.read_lock(CONTAINER / name)
            mirror = mirrors["TORCH_INDEX_URL" if "torch" in name else "PIP_INDEX_URL"]
            assert locks.read_lock(tmp_path / name) == locks.Lock(
                tmp_path / name, mirror if said else own.index, own.pins
            )


@pytest.mark.parametrize(
    "url", ["mirror", "ftp://a.example", "https://a.example/a b", "https://a.example/a|b", "https://"]
)
def test_what_is_no_address_of_a_mirror_is_refused(url: str) -> None:
    done = CliRunner().invoke(cli, ["image", "build", "--engine", "podman", "--index", url, "--dry-run"])
    assert isinstance(done.exception, SpecError)
    assert f"--index {url}: expected an address" in str(done.exception)


def pip(lock: Path, target: Path, *words: str, **said: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--require-hashes", "--retries=0", *words]
    quiet = {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}  # it asks the index of pip's settings, as ours do not
    return subprocess.run(
        [*command, "--target", target, "--requirement", lock],
        env={"PATH": os.environ["PATH"], "HOME": str(target.parent), "PIP_CONFIG_FILE": os.devnull, **quiet, **said},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("content", [GOOD, BAD])
def test_pip_installs_the_locks_wheel_and_no_other(tmp_path: Path, content: tuple[str, bytes]) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / content[0]).write_bytes(content[1])
    lock = write_lock(tmp_path / "a.lock", GOOD[1])
    done = pip(lock, tmp_path / "there", PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path / "files"))
    assert (done.returncode == 0) == (content is GOOD), done.stderr
    assert (tmp_path / "there/one.py").exists() == (content is GOOD)
    if content is BAD:
        assert sha256(GOOD[1]) in done.stderr
        assert sha256(BAD[1]) in done.stderr


def test_pip_asks_the_locks_index_and_no_other(tmp_path: Path) -> None:
    """Neither by a variable nor by pip's settings, as an image or a person may have them."""
    pages = {"/simple/one/": page_html({GOOD[0]: sha256(GOOD[1])}), f"/files/{GOOD[0]}": (HTML, GOOD[1])}
    with serving(pages) as own, serving(pages) as more, serving(pages) as other:
        lock = write_lock(tmp_path / "a.lock", GOOD[1], own.address)
        (tmp_path / "pip.conf").write_text(f"[global]\nextra-index-url = {more.address}\nindex-url = {other.address}\n")
        said = {"PIP_EXTRA_INDEX_URL": more.address, "PIP_INDEX_URL": other.address}
        done = pip(lock, tmp_path / "there", **(said | {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf")}))
        assert done.returncode == 0, done.stderr
        assert own.asked == ["/simple/one/", f"/files/{GOOD[0]}"]
        assert (more.asked, other.asked) == ([], [])
    with serving({}) as own, serving(pages) as more:
        write_lock(lock, GOOD[1], own.address)
        assert pip(lock, tmp_path / "nowhere", PIP_EXTRA_INDEX_URL=more.address).returncode != 0
        assert more.asked == []
