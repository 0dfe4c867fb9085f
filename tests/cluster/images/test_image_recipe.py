"""What bertjob's image is built from."""

import re
import shlex
import subprocess
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from known import SHA
from planned import HERE, SLURM, made, with_

from bertjob.cli.main import cli
from bertjob.cluster.images import build
from bertjob.config.job import Image
from bertjob.config.load import load_site
from bertjob.errors import PreflightError

ROOT = Path(__file__).resolve().parents[3]


def test_the_context_has_all_that_the_dockerfile_copies_and_nothing_else() -> None:
    copied = set()
    for line in re.findall(r"^COPY (?!--from)(.*) \S+$", (ROOT / "container/Dockerfile").read_text(), re.MULTILINE):
        copied |= {word.split("/")[0] for word in line.split()}
    with build.context() as folder:
        assert {path.name for path in folder.iterdir()} == copied
        assert not [*folder.rglob("__pycache__")]
        ours = subprocess.run(["git", "ls-files", "bertjob"], cwd=ROOT, capture_output=True, text=True, check=True)
        assert all((folder / name).exists() for name in ours.stdout.split() if (ROOT / name).exists())


def test_commands_that_are_only_printed_name_sources_that_stay() -> None:
    done = CliRunner().invoke(cli, ["image", "build", "--engine", "podman", "--dry-run"])
    assert done.exit_code == 0, done.output
    words = shlex.split(done.stdout)
    assert words[words.index("--file") + 1] == f"{ROOT}/container/Dockerfile"
    assert words[-1] == str(ROOT)
    assert "temporary" not in done.stderr


def test_where_no_sources_stay_the_printed_commands_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example/simple")
    done = CliRunner().invoke(
        cli, ["image", "overlay", "--path", "/e", "--image", "b:1", "--engine", "podman", "--dry-run"]
    )
    assert done.exit_code == 0, done.output
    assert "in a temporary folder is there only while bertjob runs them" in done.stderr


def test_what_builders_leave_out_of_a_checkout_is_what_the_context_leaves_out() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    with build.context() as folder:
        assert {path.name for path in folder.iterdir()} == kept - {"wheels"}


def test_wheels_go_into_the_context(tmp_path: Path) -> None:
    (tmp_path / "a-1-py3-none-any.whl").touch()
    with build.context(tmp_path) as folder:
        assert [path.name for path in (folder / "wheels").iterdir()] == ["a-1-py3-none-any.whl"]
    assert build.arguments("cpu", "b:1", wheels=True)["PIP_FIND_LINKS"] == "/context/wheels"


def test_a_pinned_base_is_named_by_its_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "container/image.env").read_text()
    (tmp_path / "image.env").write_text(text)
    monkeypatch.setattr(build, "_settings", lambda: tmp_path / "image.env")
    build.pin({"gpu": SHA})
    assert build.read_recipe().bases["gpu"].pinned == f"nvcr.io/nvidia/pytorch@{SHA}"
    assert build.Base("a/b:1").pinned == "a/b:1"
    changed = (tmp_path / "image.env").read_text().splitlines()
    assert len([1 for old, new in zip(text.splitlines(), changed, strict=True) if old != new]) == 1


def test_sites_take_the_base_that_the_image_is_built_on() -> None:
    assert load_site("daint").value.image.ref == build.read_recipe().bases["gpu"].ref


def test_a_checkout_is_mounted_readonly_and_comes_first(tmp_path: Path) -> None:
    here = msgspec.structs.replace(HERE, is_folder=lambda path: path == "/home/me/bj/bertjob")
    site = with_(SLURM, engine="sarus")
    script = made(site, here=here, image=Image(ref="b:1", source="bj"), env={"PYTHONPATH": "/more"})
    assert "export PYTHONPATH=/home/me/bj:/more\n" in script
    assert "--mount=type=bind,source=/home/me/bj,destination=/home/me/bj,readonly" in script
    with pytest.raises(PreflightError, match=r"image\.source: /home/me/no: is no checkout of bertjob"):
        made(site, here=here, image=Image(ref="b:1", source="no"))
