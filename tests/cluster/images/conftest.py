"""What the tests of images share: engines that are fakes."""

from pathlib import Path

import pytest
from fakes.commands import Commands


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    found = Commands(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{found.folder}:/usr/bin:/bin")
    return found
