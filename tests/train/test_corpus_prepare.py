"""A preparation gives the same bytes whoever makes them and however often it is killed."""

import json
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from bertjob.errors import DataError
from bertjob.formats.corpus_manifest import Manifest
from bertjob.rundir.messages import Preparation, PreparationProgress
from bertjob.train.corpus.prepare import prepare
from bertjob.train.corpus.reader import open_corpus
from bertjob.train.corpus.sources import Span
from bertjob.train.corpus.workers import Making, Piece, for_validation, for_vocabulary, make_shards
from bertjob.train.data.tokenizer import BertTokenizer
from tests.train.corpora import read_back, silent, write_documents

SMALL = 10_000
"""Bytes a shard, so that each file of a small corpus has its own."""


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[str]]]:
    """A folder with files, and its documents."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "b").mkdir()
    files = [*(folder / f"a{number}.txt" for number in range(5)), folder / "b" / "c.txt", folder / "b" / "d"]
    return folder, [document for seed, file in enumerate(files) for document in write_documents(file, 50, seed)]


def content(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.fixture(scope="module")
def prepared(
    texts: tuple[Path, list[list[str]]], vocab: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Manifest]:
    """The corpus, prepared without a break by one process."""
    out = tmp_path_factory.mktemp("prepared") / "out"
    request = Preparation((str(texts[0]),), str(out), vocab, validation=0.1, shard_bytes=SMALL)
    return out, prepare(request, silent)


def test_shards_hold_what_the_tokenizer_says_of_each_sentence(
    prepared: tuple[Path, Manifest], texts: tuple[Path, list[list[str]]], tokenizer: BertTokenizer
) -> None:
    folder, manifest = prepared
    wanted: dict[str, list[list[list[int]]]] = {"train": [], "validation": []}
    for document in texts[1]:
        ids = [tokenizer.tokenizer.encode(sentence, add_special_tokens=False).ids for sentence in document]
        wanted["validation" if for_validation(document, 0.1) else "train"].append(ids)
    assert read_back(folder, "train") == wanted["train"]
    assert read_back(folder, "validation") == wanted["validation"]
    assert len(manifest.shards) > 4
    assert manifest.train.documents + manifest.validation.documents == 350
    assert 15 < manifest.validation.documents < 60


def test_arrays_are_small_and_mapped(prepared: tuple[Path, Manifest]) -> None:
    corpus, manifest = open_corpus(prepared[0], "train")
    assert corpus.shards[0].tokens.dtype == np.uint16
    base = corpus.shards[0].tokens
    while not isinstance(base, np.memmap):
        assert isinstance(base, np.ndarray)  # a view of what is mapped
        base = base.base
    assert corpus.size == manifest.train


@pytest.mark.parametrize("workers", [3])
def test_any_number_of_processes_makes_the_same_bytes(
    workers: int, prepared: tuple[Path, Manifest], texts: tuple[Path, list[list[str]]], vocab: str, tmp_path: Path
) -> None:
    request = Preparation(
        (str(texts[0]),), str(tmp_path / "out"), vocab, validation=0.1, shard_bytes=SMALL, workers=workers
    )
    prepare(request, silent)
    assert content(tmp_path / "out") == content(prepared[0])


def test_parts_do_not_depend_on_the_order_of_files(
    prepared: tuple[Path, Manifest], texts: tuple[Path, list[list[str]]], vocab: str, tmp_path: Path
) -> None:
    files = (str(texts[0] / "b"), *(str(texts[0] / f"a{number}.txt") for number in (3, 1, 4, 0, 2)))
    prepare(Preparation(files, str(tmp_path / "out"), vocab, validation=0.1), silent)
    assert sorted(read_back(tmp_path / "out", "validation")) == sorted(read_back(prepared[0], "validation"))


def command(corpus: Path, out: Path, vocab: str, workers: int = 2) -> list[str]:
    """The command line of a preparation in a process of its own."""
    request = {
        "corpora": [str(corpus)],
        "out": str(out),
        "vocab": vocab,
        "validation": 0.1,
        "shard_bytes": SMALL,
        "workers": workers,
    }
    return [sys.executable, "-m", "bertjob.train.corpus", json.dumps(request)]


def killed_in_time(text: Path, out: Path, vocab: str, lines: int) -> bool:
    """Kill it after so many lines; False, and all is removed, where it was faster."""
    with subprocess.Popen(command(text, out, vocab), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        process.stdout.readline()
        workers = psutil.Process(process.pid).children(recursive=True)
        for _ in range(lines - 1):
            process.stdout.readline()
        process.kill()
    _, left = psutil.wait_procs(workers, timeout=120)
    assert not left  # nobody goes on without the one that reads
    if not (out / "manifest.json").exists():
        return True
    shutil.rmtree(out)
    return False


def test_killed_at_any_moment_it_goes_on_and_makes_the_same_bytes(
    prepared: tuple[Path, Manifest], texts: tuple[Path, list[list[str]]], vocab: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for lines in (1, 3):
        assert any(killed_in_time(texts[0], out, vocab, lines) for _ in range(10))
    said = subprocess.run(command(texts[0], out, vocab), capture_output=True, text=True, check=True).stdout
    assert json.loads(said.splitlines()[-2])["kept"] >= 1
    assert content(out) == content(prepared[0])


def test_a_shard_that_was_damaged_is_made_again_and_one_that_is_whole_is_kept(
    prepared: tuple[Path, Manifest], texts: tuple[Path, list[list[str]]], vocab: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    request = Preparation((str(texts[0]),), str(out), vocab, validation=0.1, shard_bytes=SMALL)
    steps: list[PreparationProgress] = []
    prepare(request, silent)
    prepare(request, steps.append)
    assert steps[-1].kept == steps[-1].shards == len(prepared[1].shards)
    damaged = out / "shards" / "00001.tokens.npy"
    damaged.write_bytes(damaged.read_bytes()[:-2])
    prepare(request, steps.append)
    assert steps[-1].kept == steps[-1].shards - 1
    assert content(out) == content(prepared[0])


def test_a_vocabulary_is_not_fitted_to_what_is_held_back() -> None:
    documents = [[f"document {number}"] for number in range(4000)]
    held_back = [document for document in documents if for_validation(document, 0.1)]
    assert len(held_back) == pytest.approx(400, rel=0.2)
    seen = [document for document in held_back if for_vocabulary(document, 0.1)]
    assert len(seen) == pytest.approx(0.1 * len(held_back), abs=20)


def test_a_vocabulary_without_mask_is_refused(texts: tuple[Path, list[list[str]]], tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\nthe\n")
    with pytest.raises(DataError, match=r"vocab.txt: has no token \[MASK\]"):
        prepare(Preparation((str(texts[0]),), str(tmp_path / "out"), str(tmp_path / "vocab.txt")), silent)
    assert not (tmp_path / "out").exists()


def test_a_folder_with_something_else_is_left_alone(
    prepared: tuple[Path, Manifest], texts: tuple[Path, list[list[str]]], vocab: str, tmp_path: Path
) -> None:
    before = content(prepared[0])
    with pytest.raises(DataError, match=r"holds another preparation \(other validation, shard bytes\)"):
        prepare(Preparation((str(texts[0]),), str(prepared[0]), vocab), silent)
    assert content(prepared[0]) == before
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(DataError, match="holds other files"):
        prepare(Preparation((str(texts[0]),), str(tmp_path), vocab), silent)
    for inside in (texts[0], texts[0] / "b" / "out"):
        with pytest.raises(DataError, match="lies inside the corpus"):
            prepare(Preparation((str(texts[0]),), str(inside), vocab), silent)


def test_a_corpus_that_has_changed_is_not_mixed_in(vocab: str, tmp_path: Path) -> None:
    write_documents(tmp_path / "x.txt", 50, 4)
    request = Preparation((str(tmp_path / "x.txt"),), str(tmp_path / "out"), vocab)
    prepare(request, silent)
    write_documents(tmp_path / "x.txt", 50, 5)
    with pytest.raises(DataError, match="the corpus has changed since"):
        prepare(request, silent)


def test_a_second_preparation_at_the_same_time_is_refused(
    texts: tuple[Path, list[list[str]]], vocab: str, tmp_path: Path
) -> None:
    request = Preparation((str(texts[0]),), str(tmp_path / "out"), vocab, shard_bytes=SMALL)

    def meanwhile(_: PreparationProgress) -> None:
        with pytest.raises(DataError, match="another preparation is at work there"):
            prepare(request, silent)

    prepare(request, meanwhile)


def test_a_full_disk_is_named_and_what_is_there_is_kept(
    texts: tuple[Path, list[list[str]]], vocab: str, tmp_path: Path
) -> None:
    def small_files_only() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000))

    out = tmp_path / "out"
    (tmp_path / "few.txt").write_text("the dog\n")
    tiny = tmp_path / "vocab.txt"
    tiny.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "dog"]))
    done = subprocess.run(
        command(texts[0], out, str(tiny), 1), capture_output=True, text=True, check=False, preexec_fn=small_files_only
    )
    assert done.returncode == 1
    assert done.stderr == f"{out / 'shards'}: File too large\n"
    assert not list((out / "shards").glob(".*"))  # no half file either


def test_a_process_that_is_killed_is_reported(vocab: str, tmp_path: Path) -> None:
    def pieces() -> Iterator[Piece]:
        yield Piece("00000", (Span("x", "sentences", 0, b"the dog\n" * 100, 0),), "")
        for process in multiprocessing.active_children():
            assert process.pid
            os.kill(process.pid, signal.SIGKILL)
            process.join()
        yield Piece("00001", (Span("x", "sentences", 0, b"the dog\n", 0),), "")

    with pytest.raises(DataError, match=r"has died \(signal SIGKILL\): out of memory\? --workers N"):
        list(make_shards(pieces(), 1, Making(tmp_path, False, 0.0, 30522), Path(vocab)))


MEASURED = """
import resource, sys
from bertjob.rundir.messages import Preparation
from bertjob.train.corpus.prepare import prepare
if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_DATA, (170 << 20, 170 << 20))
    prepare(Preparation((sys.argv[1],), sys.argv[2], sys.argv[3], shard_bytes=1 << 20), lambda step: None)
    own = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))  # ru_maxrss would be pytest's
    print(own.split()[1], resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_corpus(vocab: str, tmp_path: Path) -> None:
    write_documents(tmp_path / "part.txt", 3000, 6)
    part = (tmp_path / "part.txt").read_bytes() + b"\n"
    peaks = []
    for times in (2, 16):
        corpus, out = tmp_path / f"{times}.txt", tmp_path / str(times)
        corpus.write_bytes(part * times)
        (tmp_path / "measured.py").write_text(MEASURED)
        arguments = [sys.executable, str(tmp_path / "measured.py"), str(corpus), str(out), vocab]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        said = subprocess.run(arguments, capture_output=True, text=True, check=True, env=environment).stdout
        peaks.append([int(word) for word in said.split()])
    grown = corpus.stat().st_size * 7 / 8 / 1024
    assert grown > 20_000
    assert all(long - short < grown / 4 for short, long in zip(*peaks, strict=True)), peaks


def test_progress_goes_up_to_all_of_the_files(texts: tuple[Path, list[list[str]]], vocab: str, tmp_path: Path) -> None:
    steps: list[PreparationProgress] = []
    prepare(Preparation((str(texts[0]),), str(tmp_path / "out"), vocab, shard_bytes=SMALL), steps.append)
    total = sum(file.stat().st_size for file in texts[0].rglob("*") if file.is_file())
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert steps[-1].done == steps[-1].total == total
