"""A whole preparation: from the files of a corpus to a folder of shards with its manifest.

One process reads and cuts the text into pieces; others make a shard of each. Which text is in which shard depends on
the text alone, so the shards are the same for any number of processes, and a preparation that was killed goes on: a
shard whose record fits its text is kept.

Memory: this process holds two pieces (`shard_bytes` and a document each), every other process one, its tokens and the
words that it knows; nothing grows with the corpus but the manifest.
"""

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from bertjob.config.home import expand
from bertjob.errors import DataError
from bertjob.formats.corpus_manifest import (
    BEGUN,
    FORMAT,
    MANIFEST,
    SHARDS,
    Manifest,
    Part,
    Settings,
    ShardRecord,
    Vocabulary,
    read_begun,
    read_manifest,
    shard_name,
    write_begun,
    write_manifest,
)
from bertjob.rundir import atomic
from bertjob.rundir.messages import Preparation, PreparationProgress
from bertjob.train.corpus.sentences import documents
from bertjob.train.corpus.shards import is_whole, record_file
from bertjob.train.corpus.sources import Source, find_sources, spans
from bertjob.train.corpus.vocabulary import SAMPLE_BYTES, marks, train_vocabulary, write_vocabulary
from bertjob.train.corpus.workers import Making, Piece, Reading, for_vocabulary, make_shards
from bertjob.train.data.tokenizer import BertTokenizer, load_tokenizer

_SHARDS: Final = 128
"""Shards that a corpus should have at least, so that many processes have work: those of a small one are smaller,"""
_LEAST_SHARD: Final = 1 << 20
"""but not smaller than this text,"""
_LARGEST_SHARD: Final = 32 << 20
"""and no shard is much larger than this."""
_UNPACKED: Final = 4
"""About how much larger a packed file is unpacked."""


Tell = Callable[[PreparationProgress], None]


def prepare(preparation: Preparation, tell: Tell) -> Manifest:
    """Prepare a corpus, or go on with a preparation that was interrupted.

    Args:
        preparation: what and where.
        tell: is called with each step forward.

    Raises:
        DataError: the corpus, the vocabulary or the folder is no good; says what and where.
        OSError: the folder cannot be written.
    """
    sources = find_sources(preparation.corpora, prose=preparation.split_sentences)
    if not sources:
        raise DataError(f"{', '.join(preparation.corpora)}: no files there")
    settings = _settings(preparation, sources)
    folder = expand(preparation.out)
    _keep_apart(folder, preparation.corpora)
    with _claimed(folder, settings):
        tokenizer = _vocabulary(preparation, sources, folder, tell)
        vocabulary = Vocabulary(tokenizer.sha256, tokenizer.size, _lowercase(tokenizer), marks(tokenizer))
        making = Making(folder / SHARDS, preparation.split_sentences, preparation.validation, vocabulary.size)
        reading = Reading(sources, settings.shard_bytes)
        records = _known(folder)
        shards = _shards(reading, records, making, preparation.workers, tokenizer, tell)
        _no_more_than(shards, records, folder)
        made = [shards[name] for name in sorted(shards, key=int)]
        train, validation = _sum([shard.train for shard in made]), _sum([shard.validation for shard in made])
        if not train.documents + validation.documents:
            raise DataError(f"{', '.join(preparation.corpora)}: no text there")
        manifest = Manifest(FORMAT, settings, vocabulary, train, validation, reading.records(), tuple(made))
        write_manifest(folder, manifest)
        for name in shards:
            record_file(making.folder, name).unlink(missing_ok=True)
        (folder / BEGUN).unlink(missing_ok=True)
    return manifest


def _keep_apart(folder: Path, corpora: Sequence[str]) -> None:
    """Refuse a folder inside the corpus, where the next start would read what this one has written."""
    for corpus in corpora:
        if folder.resolve().is_relative_to(expand(corpus).resolve()):
            raise DataError(f"--out {folder}: lies inside the corpus {corpus}; choose another folder")


@contextmanager
def _claimed(folder: Path, settings: Settings) -> Iterator[None]:
    """Hold the folder against another preparation, now and later.

    Raises:
        DataError: it is another one's, or holds other files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"--out {folder}: another preparation is at work there") from None
        begun = read_begun(folder)
        if begun is None:
            if any(not file.name.startswith(".") for file in folder.iterdir()):
                raise DataError(f"--out {folder}: holds other files; choose a new or empty folder")
            write_begun(folder, settings)
        elif begun != settings:
            raise DataError(
                f"--out {folder}: holds another preparation ({_difference(begun, settings)}); choose another"
            )
        (folder / SHARDS).mkdir(exist_ok=True)
        for place in (folder, folder / SHARDS):
            atomic.remove_leftovers(place)
        yield
    finally:
        os.close(handle)


def _settings(preparation: Preparation, sources: Sequence[Source]) -> Settings:
    if preparation.vocab is not None:
        tokenizer = load_tokenizer(expand(preparation.vocab))
        marks(tokenizer)
        vocabulary = tokenizer.sha256
    else:
        vocabulary = f"{preparation.train_vocab} tokens, trained"
    size = sum(source.bytes for source in sources)
    return Settings(
        vocabulary,
        preparation.split_sentences,
        preparation.validation,
        preparation.shard_bytes or min(max(size // _SHARDS, _LEAST_SHARD), _LARGEST_SHARD),
        tuple(source.name for source in sources),
    )


def _difference(begun: Settings, wanted: Settings) -> str:
    names = (name for name in Settings.__struct_fields__ if getattr(begun, name) != getattr(wanted, name))
    return "other " + ", ".join(name.replace("_", " ") for name in names)


def _vocabulary(preparation: Preparation, sources: Sequence[Source], folder: Path, tell: Tell) -> BertTokenizer:
    """The tokenizer, stored with the shards; trained where it is neither given nor there."""
    stored = folder / "tokenizer.json"
    if not stored.is_file():
        with atomic.beside(stored) as aside:
            aside.mkdir()
            if preparation.vocab is not None:
                tokenizer = load_tokenizer(expand(preparation.vocab))
            else:
                tokenizer = load_tokenizer(write_vocabulary(_trained(preparation, sources, tell), aside))
            tokenizer.save(aside)
            for name in ("tokenizer_config.json", "tokenizer.json"):  # the one that counts last
                (aside / name).replace(folder / name)
    return load_tokenizer(stored)


def _trained(preparation: Preparation, sources: Sequence[Source], tell: Tell) -> list[str]:
    """The tokens of a new vocabulary, from all of the text or an even sample of its documents."""
    assert preparation.train_vocab is not None
    total = sum(source.bytes for source in sources)
    text = sum(source.bytes * (_UNPACKED if source.path.suffix in (".gz", ".xz", ".zst") else 1) for source in sources)
    share = min(1.0, SAMPLE_BYTES / max(text, 1))
    passes = 0

    def texts() -> Iterator[str]:
        nonlocal passes
        begun, passes = passes * total, passes + 1
        for source in sources:
            for span in spans(source):
                tell(PreparationProgress("vocabulary", begun + span.read, 2 * total))
                for document in documents(span, prose=preparation.split_sentences):
                    if share == 1.0 or for_vocabulary(document, share):
                        yield "\n".join(document)
            begun += source.bytes

    return train_vocabulary(texts, preparation.train_vocab)


def _shards(
    reading: Reading,
    records: dict[str, ShardRecord],
    making: Making,
    workers: int,
    tokenizer: BertTokenizer,
    tell: Tell,
) -> dict[str, ShardRecord]:
    """All shards by name, those that are kept and those that are made."""
    kept: dict[str, ShardRecord] = {}
    made: dict[str, ShardRecord] = {}

    def step(piece: Piece) -> None:
        tell(PreparationProgress("shards", reading.done[piece.name], reading.total, len(kept) + len(made), len(kept)))

    def missing() -> Iterator[Piece]:
        for piece in reading.pieces():
            record = records.get(piece.name)
            if record is not None and record.text_sha256 != piece.sha256:
                raise DataError(f"--out {making.folder.parent}: the corpus has changed since; choose another folder")
            if record is not None and is_whole(making.folder, piece.name, record):
                kept[piece.name] = record
                step(piece)
            else:
                yield piece

    for piece, record in make_shards(missing(), workers, making, tokenizer.source):
        made[piece.name] = record
        step(piece)
    return {**kept, **made}


def _known(folder: Path) -> dict[str, ShardRecord]:
    """The shards of an earlier preparation, by name."""
    if (folder / MANIFEST).is_file():
        shards = read_manifest(folder).shards
        return {shard_name(number): record for number, record in enumerate(shards)}
    files = sorted((folder / SHARDS).glob("[0-9]*.json"))
    return {file.stem: msgspec.json.decode(file.read_bytes(), type=ShardRecord) for file in files}


def _no_more_than(shards: dict[str, ShardRecord], records: dict[str, ShardRecord], folder: Path) -> None:
    if records.keys() - shards.keys():
        raise DataError(f"--out {folder}: the corpus has become smaller since; choose another folder")


def _sum(parts: Sequence[Part]) -> Part:
    return sum(parts, Part())


def _lowercase(tokenizer: BertTokenizer) -> bool:
    return bool(getattr(tokenizer.tokenizer.normalizer, "lowercase", False))
