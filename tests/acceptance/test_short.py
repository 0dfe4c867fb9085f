"""The shortest row of the matrix, of one engine: the rest is for `make acceptance`."""

import pytest
from centre import Centre

from bertjob.rundir.directory import RunDir

pytestmark = pytest.mark.slow


def test_a_tiny_training_and_an_exit_code(centre: Centre) -> None:
    centre.inside("sh", "-c", "exit 7", code=7)
    run = RunDir(centre.folder / "a run")
    centre.finish(centre.training(centre.folder / "a job", steps=2), run)
    assert run.model.is_dir()
