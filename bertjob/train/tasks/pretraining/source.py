"""Where samples of pre-training come from: a folder that bertjob prepared, or one in the format of others."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from bertjob.config.home import expand
from bertjob.config.job import Job
from bertjob.errors import DataError, SpecError
from bertjob.formats.corpus_manifest import ARRAYS, BEGUN, DATA_SET, MANIFEST, no_samples, shards_in
from bertjob.formats.corpus_splits import SPLITS, TRAIN, VALIDATION
from bertjob.train.corpus.reader import Corpus, open_corpus
from bertjob.train.data.batch import Int64
from bertjob.train.data.tokenizer import BertTokenizer
from bertjob.train.tasks.pretraining.external import MadeSamples
from bertjob.train.tasks.pretraining.external.bing_bert_shards import BingStore
from bertjob.train.tasks.pretraining.external.datasets_arrow import ArrowStore
from bertjob.train.tasks.pretraining.external.hdf5 import Hdf5Store
from bertjob.train.tasks.pretraining.external.store import CheckedStore, Limits, Store
from bertjob.train.tasks.pretraining.full_sentences import FullSentences
from bertjob.train.tasks.pretraining.pairs import NextSentencePairs, PairSettings
from bertjob.train.tasks.pretraining.samples import Marks, Samples, SampleSource

_HELD_BACK = 20
"""Of ready samples, one in so many is for validation, and no more than the job asks for."""


class Sources(NamedTuple):
    """Samples to train on, and others to evaluate on."""

    train: SampleSource
    validation: SampleSource


def open_sources(job: Job, tokenizer: BertTokenizer) -> Sources:
    """The samples of a job, from the folder ``data.shards``.

    Raises:
        SpecError: the job names no folder, or its samples leave no room for text.
        DataError: there is no such data, or it is not of the model's vocabulary.
    """
    if job.data.shards is None:
        raise SpecError("data.shards is not said: a folder that `bertjob data prepare` has made")
    folder = expand(job.data.shards)
    if (folder / MANIFEST).is_file() or (folder / BEGUN).is_file():
        return _prepared(job, folder, tokenizer)
    return _made(job, folder, tokenizer)


def _prepared(job: Job, folder: Path, tokenizer: BertTokenizer) -> Sources:
    train, manifest = open_corpus(folder, "train")
    if manifest.vocabulary.sha256 != tokenizer.sha256:
        raise DataError(f"{folder}: was prepared with another vocabulary than {tokenizer.source}")
    validation, _ = open_corpus(folder, "validation")
    return Sources(_samples(job, train, tokenizer), _samples(job, validation, tokenizer))


def _samples(job: Job, corpus: Corpus, tokenizer: BertTokenizer) -> SampleSource:
    marks, said = Marks(tokenizer.cls, tokenizer.sep), job.pretraining
    if job.task == "mlm":
        return FullSentences(corpus, marks, job.train.max_seq_length, job.seed)
    settings = PairSettings(job.train.max_seq_length, said.random_next, said.short_pairs, said.dupe_factor)
    return NextSentencePairs(corpus, marks, settings, job.seed)


def _made(job: Job, folder: Path, tokenizer: BertTokenizer) -> Sources:
    split = (folder / SPLITS).is_file()
    store = _store(job, folder / TRAIN if split else folder, tokenizer)
    if split and (folder / VALIDATION).is_dir():
        validation = _store(job, folder / VALIDATION, tokenizer)
        return Sources(MadeSamples(store, job.seed), MadeSamples(validation, job.seed))
    held_back = min(job.pretraining.validation_samples, max(1, len(store) // _HELD_BACK))
    if held_back >= len(store):
        raise DataError(f"{folder}: one sample is too few to train on and to evaluate on")
    first = len(store) - held_back
    return Sources(
        MadeSamples(_Slice(store, 0, first), job.seed), MadeSamples(_Slice(store, first, len(store)), job.seed)
    )


def _store(job: Job, folder: Path, tokenizer: BertTokenizer) -> Store:
    limits = Limits(job.train.max_seq_length, tokenizer.size, job.task == "pretrain")
    bare, files = _open(folder, tokenizer)
    store = CheckedStore(bare, files, limits)
    store.read(np.array([0, len(store) - 1]))  # so that what fits nowhere is said before the model is built
    return store


def _open(folder: Path, tokenizer: BertTokenizer) -> tuple[Store, list[Path]]:
    """The samples of a folder, and the files to name when one is wrong."""
    if files := shards_in(folder):
        return Hdf5Store(files), files
    if (folder / ARRAYS).is_file():
        store = BingStore(folder, tokenizer.tokenizer.get_vocab(), Marks(tokenizer.cls, tokenizer.sep))
        return store, [folder]
    if (folder / DATA_SET).is_file():
        return ArrowStore(folder), [folder]
    raise no_samples(folder)


class _Slice:
    """Some samples of a store, from one number to another; see external.store.Store."""

    def __init__(self, store: Store, first: int, end: int) -> None:
        self._store, self._first, self._end = store, first, end
        parts = store.parts
        self.parts: Int64 | None = None if parts is None else np.unique(np.clip(parts, first, end)) - first

    def __len__(self) -> int:
        return self._end - self._first

    def read(self, numbers: Int64) -> Samples:
        """Some of them, by their numbers from 0."""
        return self._store.read(numbers + self._first)
