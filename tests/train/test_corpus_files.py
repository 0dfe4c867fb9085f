"""A corpus is the same text however its files are packed or saved; what is none is named."""

import gzip
import json
import lzma
import shutil
from pathlib import Path

import numpy as np
import pyarrow
import pytest
import zstandard

from bertjob.errors import DataError
from bertjob.rundir.messages import Preparation
from bertjob.train.corpus.prepare import prepare
from bertjob.train.data.tokenizer import BertTokenizer
from tests.train.corpora import read_back, silent, write_documents


@pytest.mark.parametrize(
    "name", ["x.txt.gz", "x.txt.xz", "x.txt.zst", "frames.txt.zst", "x.jsonl", "x.jsonl.gz", "crlf.txt", "bom.txt"]
)
def test_packed_files_and_json_lines_give_the_same_tokens(name: str, vocab: str, tmp_path: Path) -> None:
    documents = write_documents(tmp_path / "plain.txt", 30, 3)
    plain = (tmp_path / "plain.txt").read_bytes()
    lines = "".join(json.dumps({"id": 1, "text": "\n".join(document)}) + "\n" for document in documents).encode()
    (tmp_path / name).write_bytes(
        {
            "x.txt.gz": gzip.compress(plain),
            "x.txt.xz": lzma.compress(plain),
            "x.txt.zst": zstandard.ZstdCompressor().compress(plain),
            "frames.txt.zst": b"".join(
                zstandard.ZstdCompressor().compress(part) for part in (plain[:999], b"", plain[999:])
            ),
            "x.jsonl": lines,
            "x.jsonl.gz": gzip.compress(lines),
            "crlf.txt": plain.replace(b"\n", b"\r\n"),
            "bom.txt": b"\xef\xbb\xbf" + plain,
        }[name]
    )
    for file, out in (("plain.txt", "one"), (name, "other")):
        prepare(Preparation((str(tmp_path / file),), str(tmp_path / out), vocab, validation=0.0), silent)
    assert read_back(tmp_path / "other", "train") == read_back(tmp_path / "one", "train")


def test_a_saved_data_set_with_a_column_text_is_a_corpus(vocab: str, tmp_path: Path) -> None:
    documents = write_documents(tmp_path / "plain.txt", 300, 3)
    (tmp_path / "saved").mkdir()
    table = pyarrow.table({"text": ["\n".join(document) for document in documents], "id": list(range(300))})
    file = pyarrow.OSFile(str(tmp_path / "saved" / "data-00000-of-00001.arrow"), "wb")
    with file as sink, pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_batch(
            pyarrow.record_batch({"text": pyarrow.array([], "string"), "id": pyarrow.array([], "int64")})
        )
        writer.write_table(table, max_chunksize=100)
    shutil.copy(tmp_path / "saved" / "data-00000-of-00001.arrow", tmp_path / "saved" / "cache-0123456789abcdef.arrow")
    (tmp_path / "saved" / "state.json").write_text('{"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}')
    for corpus, out in (("plain.txt", "one"), ("saved", "other")):
        prepare(Preparation((str(tmp_path / corpus),), str(tmp_path / out), vocab, validation=0.0), silent)
    assert read_back(tmp_path / "other", "train") == read_back(tmp_path / "one", "train")


def test_a_saved_data_set_that_lacks_a_file_is_refused(vocab: str, tmp_path: Path) -> None:
    (tmp_path / "cache-0123456789abcdef.arrow").touch()
    (tmp_path / "state.json").write_text('{"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}')
    with pytest.raises(DataError, match=r"data-00000-of-00001.arrow: is not there, and state.json names it$"):
        prepare(Preparation((str(tmp_path),), str(tmp_path / "out"), vocab), silent)


def test_running_prose_is_split_at_sentences_and_two_empty_lines(
    vocab: str, tmp_path: Path, tokenizer: BertTokenizer
) -> None:
    (tmp_path / "x.txt").write_text("Mr. Fox ran.\nHe was\nquick. \n\nThe dog slept.\n\n\nAnother one. It is short.\n")
    request = Preparation((str(tmp_path / "x.txt"),), str(tmp_path / "out"), vocab, split_sentences=True, validation=0)
    prepare(request, silent)
    texts = [[tokenizer.tokenizer.decode(ids) for ids in document] for document in read_back(tmp_path / "out", "train")]
    assert texts == [["mr. fox ran.", "he was quick.", "the dog slept."], ["another one.", "it is short."]]


def test_a_document_without_end_becomes_several(vocab: str, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("the quick brown fox\n" * 450_000)  # 9 MB
    manifest = prepare(Preparation((str(tmp_path / "x.txt"),), str(tmp_path / "out"), vocab, validation=0), silent)
    assert manifest.train.documents == 2
    assert manifest.train.sentences == 450_000


BAD = {
    "missing": ("nowhere.txt", r"nowhere.txt: no such file or folder"),
    "empty": ("empty.txt", r"empty.txt: no text there"),
    "empty folder": ("folder", r"folder: no files there"),
    "not UTF-8": ("latin.txt", r"latin.txt: not UTF-8 at byte 13"),
    "one line": ("line.txt", r"line.txt: the line at byte 0 is longer than 8 MiB: is this text\?"),
    "gz": ("bad.txt.gz", r"bad.txt.gz: cannot be unpacked"),
    "cut gz": ("cut.txt.gz", r"cut.txt.gz: cannot be unpacked"),
    "cut xz": ("cut.txt.xz", r"cut.txt.xz: cannot be unpacked"),
    "cut zst": ("cut.txt.zst", r"cut.txt.zst: cannot be unpacked \(it ends too early\)"),
    "zst cut in its second frame": ("two.txt.zst", r"two.txt.zst: cannot be unpacked \(it ends too early\)"),
    "bad zst": ("bad.txt.zst", r"bad.txt.zst: cannot be unpacked"),
    "no text": ("bad.jsonl", r'bad.jsonl: the line at byte 14 is not {"text": "…", …}'),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_corpus_is_named_in_one_line(case: str, vocab: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.txt").write_text("\n \n\n")
    (tmp_path / "latin.txt").write_bytes(b"plain\n\nna\xc3\xafve\xe9\n")
    (tmp_path / "bad.txt.gz").write_bytes(b"hello\n")
    (tmp_path / "bad.txt.zst").write_bytes(b"hello\n")
    noise = np.random.default_rng(0).bytes(10_000).hex().encode()
    (tmp_path / "cut.txt.gz").write_bytes(gzip.compress(noise)[:-100])
    (tmp_path / "cut.txt.xz").write_bytes(lzma.compress(noise)[:-100])
    frame = zstandard.ZstdCompressor().compress(noise)
    (tmp_path / "cut.txt.zst").write_bytes(frame[: len(frame) // 2])
    (tmp_path / "two.txt.zst").write_bytes(frame + frame[:3])
    (tmp_path / "bad.jsonl").write_text('{"text": "a"}\n{"txt": "b"}\n')
    if case == "one line":
        (tmp_path / "line.txt").write_bytes(b"x" * (9 << 20))
    name, message = BAD[case]
    with pytest.raises(DataError, match=message) as raised:
        prepare(Preparation((str(tmp_path / name),), str(tmp_path / "out"), vocab), silent)
    assert "\n" not in str(raised.value)
