"""Overlays: made inside of the image, with the site's mounts."""

import json
import os
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from fakes.commands import Commands
from known import FACTS, NGC
from planned import LOCAL, SLURM, with_

from bertjob.cli.main import cli
from bertjob.cluster.images import engine
from bertjob.cluster.images.build import overlay_commands
from bertjob.config.job import Image
from bertjob.config.site import Mount
from bertjob.errors import PreflightError


def test_an_overlay_is_made_inside_of_the_image_with_the_sites_mounts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRATCH", str(tmp_path))
    done = CliRunner().invoke(
        cli, ["image", "overlay", "--site", "daint", "--path", "$SCRATCH/env", "--dry-run", "--", "wandb"]
    )
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert done.stderr == ""
    assert all(f"source={Path(__file__).parents[3]},destination=/context,readonly" in line for line in lines)
    assert len(lines) == 6
    assert all(line.startswith("sarus run ") and NGC in line for line in lines)
    assert all(f"source={tmp_path},destination={tmp_path}" in line for line in lines)
    assert lines[0].endswith(f"python3 -m venv --system-site-packages --without-pip {tmp_path}/env")
    own = [line for line in lines if "PIP_CONSTRAINT= PIP_EXTRA_INDEX_URL=" in line]
    assert own == lines[1:-1]
    assert all(("--require-hashes" in line) != ("--no-index" in line) for line in own)
    assert lines[-1].endswith("install wandb")


def test_an_overlay_is_made_in_the_sites_mount_whatever_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sources, too, must be at their place inside, although they are below a mount."""
    monkeypatch.setenv("SCRATCH", f"{tmp_path}/")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    site = with_(SLURM, engine="podman", mounts=(Mount(source="$SCRATCH"),))
    with overlay_commands("podman", "b:1", f"{tmp_path}/env", site) as sequence:
        mounts = [word for word in sequence[0] if word.startswith("--mount=")]
    assert mounts[0] == f"--mount=type=bind,source={tmp_path},destination={tmp_path}"
    assert [mount.partition("destination=")[2] for mount in mounts[1:]] == ["/context,readonly"]


@pytest.mark.parametrize(("name", "below"), [("pyxis", "home"), ("edf", "home"), ("podman", "tmp")])
def test_the_node_that_makes_an_overlay_sees_the_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, below: str
) -> None:
    """Where srun starts the engine it is a node, which has a /tmp of its own."""
    for folder in ("home", "tmp"):
        (tmp_path / folder).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    with overlay_commands(name, "b:1", f"{tmp_path}/env", with_(SLURM, engine=name)):
        (sources,) = tmp_path.glob("*/.bertjob-image-*")
        assert sources.parent.name == below
        assert (sources / "pyproject.toml").is_file()
    assert not sources.exists()


def test_an_overlay_needs_a_path_that_all_nodes_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SCRATCH", raising=False)
    words = ["image", "overlay", "--site", "daint", "--dry-run", "--path"]
    for path, told in (("env", "an absolute path"), ("$SCRATCH/env", r"$SCRATCH is not set here")):
        error = CliRunner().invoke(cli, [*words, path]).exception
        assert isinstance(error, PreflightError)
        assert told in str(error)


def test_an_engine_is_told_the_user_whom_the_environment_does_not_name(
    fakes: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `ch-run: error: $USER not set` wants it."""
    fakes.make("ch-run", stdout=json.dumps(FACTS))
    site = with_(LOCAL, engine="charliecloud")
    monkeypatch.setenv("USER", "said")
    engine.inspect(Image(ref=str(tmp_path)), site)
    assert fakes.environment("ch-run")["USER"] == "said"
    monkeypatch.delenv("USER")
    engine.inspect(Image(ref=str(tmp_path)), site)
    assert fakes.environment("ch-run")["USER"] == os.popen("id -un").read().strip()


def test_a_relative_overlay_is_told_before_an_engine_is_asked(fakes: Commands) -> None:
    fakes.make("podman")
    with pytest.raises(PreflightError, match=r"^overlay env: an absolute path .* is wanted$"):
        engine.inspect(Image(ref="b:1", overlay="env"), with_(LOCAL, engine="podman"))
    assert fakes.calls("podman") == []
