"""`make acceptance SITE=…`: every row of an engine's matrix is a job of the site."""

import os
import re
import subprocess
import sys
from pathlib import Path

import containers
import pytest
from face import Face

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("engine", "rows", "passed"),
    [
        ("podman", "an_exit_code or absent", 4),
        *(
            pytest.param(engine, "", 12, marks=pytest.mark.faults)  # an hour on a busy machine
            for engine in ("podman", "charliecloud")
        ),
    ],
)
def test_the_matrix_of_an_engine_is_jobs(
    bertjob: Face, images: containers.Images, tmp_path: Path, engine: str, rows: str, passed: int
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    site = bertjob.site("centre", engine=engine, **images.site_keys(engine))
    command = [sys.executable, "-m", "pytest", "-m", "acceptance", "-p", "no:cacheprovider", "-k", rows]
    environment = os.environ | {"SITE": str(site), "WORK": str(work), "ENGINE": "", "IMAGE": ""}
    done = subprocess.run(
        [*command, "tests/acceptance"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert f"tried as jobs of slurm: {engine}" in done.stdout
    assert len(re.findall(rf"^{engine} +\| .* \| passed \| \d+ s$", done.stdout, re.MULTILINE)) == passed, done.stdout
    assert [*work.iterdir()] == []
    queued = subprocess.run(["squeue", "--noheader"], capture_output=True, text=True, check=True)
    assert queued.stdout == ""
