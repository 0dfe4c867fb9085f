"""`bertjob data prepare` and `data info` at the command line: one result, one line where something is wrong."""

import json
import math
import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bertjob.config.load import load_job
from bertjob.errors import DataError
from bertjob.estimate.job_files import samples_of
from bertjob.train.corpus.reader import open_corpus
from bertjob.train.corpus.statistics import check, facts
from bertjob.train.tasks.pretraining.pairs import NextSentencePairs, PairSettings
from bertjob.train.tasks.pretraining.samples import Marks
from tests.train.byte_level import byte_level

BERTJOB = str(Path(sys.executable).with_name("bertjob"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    for number in range(6):
        documents = (f"This is document {number} {each}.\nIt has two sentences." for each in range(40))
        (folder / f"{number}.txt").write_text("\n\n".join(documents))
    return folder


def bertjob(*arguments: object) -> subprocess.CompletedProcess[str]:
    return data("prepare", *arguments)


def data(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([BERTJOB, "data", *map(str, arguments)], capture_output=True, text=True, check=False)


def test_the_result_is_the_folder_and_the_rest_is_prose(corpus: Path, tmp_path: Path) -> None:
    done = bertjob(corpus, "--out", tmp_path / "out", "--train-vocab", 150, "--validation", 0.2, "--workers", 2)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'out'}\n"
    assert "vocabulary: 100 %" in done.stderr
    assert "shards: 100 %" in done.stderr
    train, manifest = open_corpus(tmp_path / "out", "train")
    assert train.size.documents + open_corpus(tmp_path / "out", "validation")[0].size.documents == 240
    assert manifest.vocabulary.size <= 150
    assert f"{train.size.tokens:,} tokens" in done.stderr
    again = bertjob(corpus, "--out", tmp_path / "out", "--train-vocab", 150, "--validation", 0.2, "--json")
    assert json.loads(again.stdout)["train"] == {
        "documents": train.size.documents,
        "sentences": train.size.sentences,
        "tokens": train.size.tokens,
    }


@pytest.mark.parametrize("length", [128, 512])
@pytest.mark.parametrize("text", ["squad-train-contexts.sent.txt", "wikitext2-raw.test.sent.txt"])
def test_an_estimate_knows_how_long_the_pairs_of_a_prepared_corpus_are(
    test_data: Path, tmp_path: Path, text: str, length: int
) -> None:
    done = bertjob(test_data / "corpora" / text, "--out", tmp_path, "--vocab", test_data / "vocab.txt", "--workers", 1)
    assert done.returncode == 0, done.stderr
    job = load_job("pretrain-seq128", [f"data.shards={tmp_path}", f"train.max_seq_length={length}"]).value
    estimated, _ = samples_of(job)
    pairs = NextSentencePairs(open_corpus(tmp_path, "train")[0], Marks(101, 102), PairSettings(length), job.seed)
    lengths = pairs.lengths(np.arange(4000))
    assert estimated.tokens == pytest.approx(lengths.mean(), rel=0.04)
    assert estimated.squares == pytest.approx((lengths**2).mean(), rel=0.05)


def test_what_a_prepared_corpus_holds(tmp_path: Path) -> None:
    """Two tokens twice as often as the two others: an entropy that is known."""
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nc\n.\n")
    (tmp_path / "text.txt").write_text("\n\n".join(["a b .\nc a ."] * 3) + "\n")
    done = bertjob(tmp_path / "text.txt", "--out", tmp_path / "out", "--vocab", tmp_path / "vocab.txt")
    assert "no document is to evaluate on" in done.stderr
    told = json.loads(data("info", tmp_path / "out", "--json").stdout)
    shares = [1 / 3, 1 / 6, 1 / 6, 1 / 3]
    assert told["unigram_entropy"] == round(-sum(share * math.log(share) for share in shares), 4)
    assert (told["train_documents"], told["train_sentences"], told["train_tokens"]) == (3, 6, 18)
    assert (told["vocabulary_size"], told["tokens_a_sentence"], told["unknown_tokens"]) == (9, 3.0, 0)
    assert "nats a token" in data("info", tmp_path / "out").stdout
    assert (
        data("info", tmp_path).stderr
        == f"bertjob: {tmp_path}: no prepared corpus; make one with: bertjob data prepare\n"
    )


def test_shards_that_are_damaged_inside_are_named(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nc\n.\n")
    (tmp_path / "text.txt").write_text("\n\n".join(["a b .\nc a ."] * 30) + "\n")
    done = bertjob(
        tmp_path / "text.txt", "--out", tmp_path / "out", "--vocab", tmp_path / "vocab.txt", "--validation", 0
    )
    assert done.returncode == 0, done.stderr
    shard = tmp_path / "out" / "shards" / "00000"
    assert data("info", "--check", tmp_path / "out").returncode == 0
    for array, place, value, words in (
        ("tokens", 100, 9, "has a token 9 of a vocabulary of 9"),
        ("tokens", 100, 6, ""),
        ("sentences", 7, 0, "its bounds do not ascend to the end of its text"),
        ("sentences", -1, 181, "its bounds do not ascend to the end of its text"),
        ("documents", 7, 50, "its bounds do not ascend to the end of its text"),
    ):
        file = shard.with_name(f"00000.{array}.npy")
        whole = file.read_bytes()
        damaged = np.load(file)
        assert damaged[place] != value
        damaged[place] = value
        np.save(file, damaged)
        if words:
            with pytest.raises(DataError, match=f"^{shard}: damaged: {words}; prepare it again$"):
                facts(tmp_path / "out")
        with pytest.raises(DataError, match=f"^{shard}: is not what was written"):
            check(tmp_path / "out")
        if array == "tokens" and words:
            pairs = NextSentencePairs(open_corpus(tmp_path / "out", "train")[0], Marks(2, 3), PairSettings(16), 1)
            with pytest.raises(DataError, match=f"^{shard}: damaged: {words}"):
                pairs.samples(np.arange(100))
        file.write_bytes(whole)
    (shard.with_name("00000.tokens.npy")).write_bytes(b"")
    refused = data("info", tmp_path / "out", "--check")
    assert refused.stderr == f"bertjob: {shard}: is not what was written (SHA-256 differs); prepare it again\n"
    refused = data("info", tmp_path / "text.txt", "--check")
    assert "only these have checksums" in refused.stderr


def test_a_corpus_of_bytes_has_facts_too(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("\n\n".join(["a b .\nc a ."] * 3) + "\n")
    byte_level(tmp_path, ["a b c ."])
    done = bertjob(tmp_path / "text.txt", "--out", tmp_path / "out", "--vocab", tmp_path / "tokenizer.json")
    assert done.returncode == 0, done.stderr
    told = json.loads(data("info", tmp_path / "out", "--json").stdout)
    assert (told["train_documents"], told["unknown_tokens"]) == (3, 0)


def test_a_terminal_shows_a_bar_with_the_time_left(corpus: Path, demo_model: Path, tmp_path: Path) -> None:
    here, there = pty.openpty()
    arguments = [BERTJOB, "data", "prepare", str(corpus), "--out", str(tmp_path / "out"), "--vocab", str(demo_model)]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=there, env=environment) as process:
        os.close(there)
        shown = b""
        while part := _read(here):
            shown += part
        assert process.wait() == 0
    assert b"ETA" in shown
    assert b"1 shard" in shown
    assert "━" in shown.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # how a terminal ends
        return b""


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (("nowhere", "--vocab", "{model}"), 1, "bertjob: nowhere: no such file or folder"),
        (("{corpus}", "--vocab", "nowhere"), 1, "bertjob: nowhere: no vocabulary there"),
        (("{corpus}",), 2, "bertjob: say either --vocab or --train-vocab"),
        (("{corpus}", "--vocab", "{model}", "--train-vocab", "500"), 2, "bertjob: say either --vocab or --train-vocab"),
        (("{corpus}", "--vocab", "{model}", "--validation", "2"), 2, "bertjob: Invalid value for '--validation'"),
    ],
)
def test_what_is_wrong_takes_one_line(
    arguments: tuple[str, ...], code: int, line: str, corpus: Path, demo_model: Path, tmp_path: Path
) -> None:
    filled = [argument.format(corpus=corpus, model=demo_model) for argument in arguments]
    done = bertjob(*filled, "--out", tmp_path / "out")
    assert done.returncode == code
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
