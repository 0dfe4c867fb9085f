"""Files without end, and such as are too large for what they claim to be, are refused before they fill the memory."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bertjob.cli.verbs.lint import read_script
from bertjob.config import bounded
from bertjob.config.load import read_job
from bertjob.errors import DataError, SpecError
from bertjob.formats.corpus_manifest import read_manifest
from bertjob.formats.squad import read_squad
from bertjob.train.data.arrow import dataset_files
from bertjob.train.data.tokenizer import load_tokenizer
from bertjob.train.model.formats.hugging_face import read_config
from bertjob.train.model.locate import words_of

READERS = [
    ("job.yaml", read_job),
    ("config.json", read_config),
    ("vocab.txt", words_of),
    ("vocab.txt", load_tokenizer),
    ("tokenizer.json", words_of),
    ("tokenizer.json", load_tokenizer),
    ("job.sbatch", lambda path: read_script(str(path))),
    ("train.json", read_squad),
    ("manifest.json", lambda path: read_manifest(path.parent)),
]


@pytest.mark.parametrize(("name", "read"), READERS)
def test_a_file_without_end_is_named_with_what_it_can_have_at_most(
    tmp_path: Path, name: str, read: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in ("SMALL", "CONFIG", "VOCABULARY", "DATA"):
        assert getattr(bounded, kind) >= 1 << 20
        monkeypatch.setattr(bounded, kind, 1 << 20)
    path = tmp_path / name
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a hole
    with pytest.raises((SpecError, DataError), match=rf"{path}.*has more than 1 MB"):
        read(path)


def test_as_much_as_may_be_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a" * 100)
    assert bounded.read_text(path, 100) == "a" * 100
    with pytest.raises(OSError, match="has more than 0 MB"):
        bounded.read_bytes(path, 99)


@pytest.mark.parametrize(("name", "read"), READERS)
def test_a_pipe_that_nobody_writes_to_is_not_waited_for(
    tmp_path: Path, name: str, read: Callable[[Path], object]
) -> None:
    path = tmp_path / name
    os.mkfifo(path)
    if name == "job.sbatch":
        assert read(path) == ""
    else:
        with pytest.raises((SpecError, DataError), match=str(tmp_path)):
            read(path)


@pytest.mark.parametrize(("name", "read"), READERS)
def test_a_device_is_refused_before_it_is_read(tmp_path: Path, name: str, read: Callable[[Path], object]) -> None:
    path = tmp_path / name
    path.symlink_to("/dev/zero")
    with pytest.raises((SpecError, DataError), match=rf"{path}.*(is a device|no vocabulary there)"):
        read(path)


def test_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError) as error:
        bounded.read_bytes(tmp_path, 1)
    assert error.value.filename == str(tmp_path)


def test_what_a_process_writes_into_a_pipe_is_read_to_its_end() -> None:
    with subprocess.Popen(["sh", "-c", "sleep 0.2; printf a; sleep 0.2; printf b"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert bounded.read_text(Path(f"/dev/fd/{process.stdout.fileno()}"), 100) == "ab"


def test_a_hole_is_refused_by_its_size_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "file").open("wb") as file:
        file.truncate(bounded.DATA + 1)
    monkeypatch.setattr(bounded, "read_stream", lambda *_: pytest.fail("it was read"))
    with pytest.raises(OSError, match="has more than 4096 MB"):
        bounded.read_bytes(tmp_path / "file", bounded.DATA)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("config.json", read_config),
        ("tokenizer.json", words_of),
        ("tokenizer.json", load_tokenizer),
        ("train.json", read_squad),
        ("manifest.json", lambda path: read_manifest(path.parent)),
        ("state.json", lambda path: dataset_files(path.parent)),
    ],
)
@pytest.mark.parametrize("text", ["[", '{"format": 1, "a":'])
def test_json_without_end_of_its_nesting_is_one_line(
    tmp_path: Path, name: str, read: Callable[[Path], object], text: str
) -> None:
    (tmp_path / name).write_text(text + "[" * 200_000 + "]" * 200_000 + ("}" if "{" in text else "]"))
    with pytest.raises(DataError) as error:
        read(tmp_path / name)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500
