"""Files without end, and such as are too large for what they claim to be, are refused before they fill the memory."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bertjob.cli.verbs.lint import read_script
from bertjob.config import bounded
from bertjob.config.load import read_job
from bertjob.errors import DataError, SpecError
from bertjob.formats.corpus_manifest import read_manifest
from bertjob.formats.squad import read_squad
from bertjob.train.data.tokenizer import load_tokenizer
from bertjob.train.model.formats.hugging_face import read_config
from bertjob.train.model.locate import words_of


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("job.yaml", read_job),
        ("config.json", read_config),
        ("vocab.txt", words_of),
        ("vocab.txt", load_tokenizer),
        ("job.sbatch", lambda path: read_script(str(path))),
        ("train.json", read_squad),
        ("manifest.json", lambda path: read_manifest(path.parent)),
    ],
)
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
