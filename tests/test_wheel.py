"""An installed wheel in an empty folder works like the checkout."""

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Runs bertjob from a wheel, in an empty folder; the dependencies are those of this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder, ROOT]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    site = folder / "site"
    zipfile.ZipFile(wheel).extractall(site)
    empty = folder / "empty"
    empty.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(site), "XDG_CONFIG_HOME": str(folder), "XDG_STATE_HOME": str(folder)}

    def run(*arguments):
        code = "import bertjob.cli.main as m, sys; print(m.__file__, file=sys.stderr); m.main()"
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=empty,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr.startswith(str(site)), "the wheel's own code runs"
        return done

    return run


def test_the_wheel_brings_jobs_and_sites(installed):
    assert {"squad", "squad-demo"} <= set(json.loads(installed("jobs", "--json").stdout))
    assert {"daint", "generic", "local"} <= set(json.loads(installed("sites", "--json").stdout))


def test_the_wheel_writes_scripts(installed):
    script = installed("script", "squad", "--nodes", "8", "--site", "daint")
    assert script.returncode == 0, script.stderr
    assert "sarus run" in script.stdout


def test_the_wheel_brings_the_presets_of_fabrics(installed):
    lumi = json.loads(installed("sites", "lumi", "--json").stdout)
    assert lumi["fabric"]["env"]["FI_CXI_DEFAULT_CQ_SIZE"] == "131072"


def test_the_wheel_documents_its_keys(installed):
    assert json.loads(installed("schema", "job").stdout)["$defs"]["Train"]["properties"]["epochs"]["description"]


def test_the_wheel_brings_the_demo_questions(installed):
    assert json.loads(installed("data", "info", "demo", "--json").stdout)["questions"] == 1797


def test_the_sdist_has_the_demo_questions(tmp_path):
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path], cwd=ROOT, check=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {f"bertjob/formats/demo-{part}.json.gz" for part in ("train", "dev")} <= names


def test_the_wheel_builds_its_image(installed):
    built = installed("image", "build", "--cpu", "--engine", "podman", "--dry-run")
    assert built.returncode == 0, built.stderr
    assert built.stdout.startswith("podman build --tag localhost/bertjob:")
