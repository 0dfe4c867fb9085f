"""What the tests of scripts share."""

from pathlib import Path

import pytest
from script_runs import Batch


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    return Batch(tmp_path)
