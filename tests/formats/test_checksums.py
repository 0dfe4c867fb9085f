import hashlib
import json
from pathlib import Path

import pytest

from bertjob.formats.checksums import Checksum, checksum, checksum_of, damage, folder_damage, write_manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With two files and its manifest."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_bytes(b"{}")
    (tmp_path / "state.pt").write_bytes(bytes(1 << 20))
    write_manifest(tmp_path)
    return tmp_path


def test_a_checksum_is_size_and_sha256_of_file_or_content(folder: Path) -> None:
    expected = Checksum(2, hashlib.sha256(b"{}").hexdigest())
    assert checksum(folder / "model" / "config.json") == expected
    assert checksum_of(b"{}") == checksum_of(memoryview(b"{}")) == expected
    assert checksum(folder / "state.pt").bytes == 1 << 20


def test_a_manifest_lists_every_file_but_itself_in_order(folder: Path) -> None:
    write_manifest(folder)  # again: it is not in itself
    listed = json.loads((folder / "MANIFEST.json").read_bytes())
    assert list(listed) == ["model/config.json", "state.pt"]
    assert listed["model/config.json"] == {"bytes": 2, "sha256": hashlib.sha256(b"{}").hexdigest()}


def test_a_folder_is_whole_until_one_byte_differs(folder: Path) -> None:
    assert folder_damage(folder) == ""
    (folder / "state.pt").write_bytes(bytes((1 << 20) - 1) + b"\1")
    assert folder_damage(folder) == "state.pt is not what was written (SHA-256 differs)"


def test_the_first_damaged_file_is_named(folder: Path) -> None:
    (folder / "state.pt").unlink()
    (folder / "model" / "config.json").write_bytes(b"{")
    assert folder_damage(folder) == "model/config.json has 1 bytes instead of 2"
    assert damage(folder / "state.pt", Checksum(1, "")) == "is missing"
    assert (
        damage(folder / "model", Checksum((folder / "model").stat().st_size, "")) == "cannot be read (Is a directory)"
    )


@pytest.mark.parametrize(("content", "what"), [(b'{"a":', "is damaged"), (b'{"a": 1}', "is damaged")])
def test_a_manifest_that_is_none_is_named(content: bytes, what: str, folder: Path) -> None:
    (folder / "MANIFEST.json").write_bytes(content)
    assert folder_damage(folder) == f"MANIFEST.json {what}"
    (folder / "MANIFEST.json").unlink()
    assert folder_damage(folder) == "MANIFEST.json is missing"
