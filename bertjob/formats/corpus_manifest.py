"""manifest.json: what a folder of shards holds and what it was made of, and the settings that make two alike."""

from pathlib import Path
from typing import Final

import msgspec

from bertjob.config import bounded
from bertjob.errors import DataError
from bertjob.formats.checksums import Checksum
from bertjob.formats.corpus_splits import SPLITS, TRAIN
from bertjob.rundir import atomic
from bertjob.text import reason

FORMAT: Final = 1
"""Raise it whenever the same corpus gives other shards."""
MANIFEST: Final = "manifest.json"
BEGUN: Final = "preparing.json"
SHARDS: Final = "shards"
ARRAYS: Final = "data.npy"
"""Of a folder of bing_bert's arrays."""
DATA_SET: Final = "state.json"
"""Of a folder that `datasets` has saved."""


class Settings(msgspec.Struct, frozen=True):
    """All but the text that decides what the shards are.

    Attributes:
        vocabulary: SHA-256 of the tokenizer with its vocabulary; or "N tokens, trained" before it is.
        split_sentences: sentences were found by rules.
        validation: share of the documents.
        shard_bytes: text that a shard was closed at.
        sources: names of the corpus' files.
        format: of the shards.
    """

    vocabulary: str
    split_sentences: bool
    validation: float
    shard_bytes: int
    sources: tuple[str, ...]
    format: int = FORMAT


class SourceRecord(msgspec.Struct, frozen=True):
    """One file of the corpus: its unpacked text."""

    name: str
    bytes: int
    sha256: str


class Vocabulary(msgspec.Struct, frozen=True):
    """The vocabulary that lies beside the shards, and the ids of its marks by their names."""

    sha256: str
    size: int
    lowercase: bool
    marks: dict[str, int]


class Part(msgspec.Struct, frozen=True):
    """How much text there is."""

    documents: int = 0
    sentences: int = 0
    tokens: int = 0

    def __add__(self, other: "Part") -> "Part":
        return Part(self.documents + other.documents, self.sentences + other.sentences, self.tokens + other.tokens)


class ShardRecord(msgspec.Struct, frozen=True):
    """What the manifest says of a shard.

    Attributes:
        text_sha256: of the text that it was made of.
        train: its first documents.
        validation: the others.
        files: sizes and checksums of its three files, by array.
    """

    text_sha256: str
    train: Part
    validation: Part
    files: dict[str, Checksum]


class Manifest(msgspec.Struct, frozen=True):
    """All of a preparation."""

    format: int
    settings: Settings
    vocabulary: Vocabulary
    train: Part
    validation: Part
    sources: tuple[SourceRecord, ...]
    shards: tuple[ShardRecord, ...]


def shard_name(number: int) -> str:
    """Of the shard `number`, from 0."""
    return f"{number:05}"


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a complete preparation.

    Raises:
        DataError: there is none, or none that this bertjob can read; says what to do.
    """
    file = folder / MANIFEST
    try:
        content = bounded.read_bytes(file, bounded.VOCABULARY)
    except FileNotFoundError:
        begun = (folder / BEGUN).is_file()
        remedy = "run the same command again, it goes on" if begun else "make one with: bertjob data prepare"
        what = "a preparation that is not complete" if begun else "no prepared corpus"
        raise DataError(f"{folder}: {what}; {remedy}") from None
    except OSError as error:
        raise DataError(f"{file}: {reason(error)}") from None
    try:
        head = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
        if head.get("format") != msgspec.Raw(str(FORMAT).encode()):
            raise DataError(f"{file}: of another format than {FORMAT}: prepare the corpus again")
        return msgspec.json.decode(content, type=Manifest)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise DataError(f"{file}: damaged ({error}): prepare the corpus again") from None


def no_documents(folder: Path, part: str) -> DataError:
    """What to say of a preparation of which a part, train or validation, is empty."""
    return DataError(f"{folder}: no documents for {part}; prepare it with another --validation")


def no_samples(folder: Path) -> DataError:
    """What to say of a folder that is neither a preparation nor in the format of others."""
    return DataError(
        f"{folder}: holds no samples of pre-training; make them with `bertjob data prepare`, or give a folder with"
        " HDF5 files of NVIDIA's, with the arrays of bing_bert, or saved by `datasets`"
    )


def shards_in(folder: Path) -> list[Path]:
    """The HDF5 files in a folder, in order."""
    return sorted([*folder.glob("*.hdf5"), *folder.glob("*.h5")])


def check_corpus(folder: Path) -> None:
    """A corpus that bertjob prepared is complete, and none of its parts is empty; one of others has the right files.

    Raises:
        DataError: it is not; says what to do.
    """
    if not any((folder / name).is_file() for name in (MANIFEST, BEGUN)):
        place = folder / TRAIN if (folder / SPLITS).is_file() else folder
        if not shards_in(place) and not any((place / name).is_file() for name in (ARRAYS, DATA_SET)):
            raise no_samples(folder)
        return
    manifest = read_manifest(folder)
    for part in ("train", "validation"):
        if not getattr(manifest, part).documents:
            raise no_documents(folder, part)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Put the manifest there, after which the preparation is complete.

    Raises:
        OSError: it cannot be written.
    """
    atomic.write_json(folder / MANIFEST, manifest, durable=True)


def read_begun(folder: Path) -> Settings | None:
    """The settings of a preparation that was begun or completed in `folder`; None where there is none.

    Raises:
        DataError: what is there cannot be read.
    """
    if (folder / MANIFEST).is_file():
        return read_manifest(folder).settings
    try:
        return msgspec.json.decode((folder / BEGUN).read_bytes(), type=Settings)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError:
        raise DataError(f"{folder / BEGUN}: damaged: choose another --out, or remove this one") from None


def write_begun(folder: Path, settings: Settings) -> None:
    """Say what is being prepared in `folder`.

    Raises:
        OSError: it cannot be written.
    """
    atomic.write_json(folder / BEGUN, settings, durable=True)
