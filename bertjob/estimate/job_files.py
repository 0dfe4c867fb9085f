"""What an estimate needs to know of a job's files: the sizes of its model, the lengths of its data."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from bertjob.config import bounded
from bertjob.config.home import expand
from bertjob.config.job import Job
from bertjob.config.registry.code import load_code
from bertjob.config.registry.tasks import TASKS
from bertjob.errors import SpecError
from bertjob.estimate.model_size import KNOWN, Sizes, sizes
from bertjob.estimate.sample_counts import (
    SQUAD,
    WIKIPEDIA,
    Samples,
    full_sentence_samples,
    pair_samples,
    squad_samples,
)
from bertjob.formats.pretrained import config_names, recognise


def sizes_of(job: Job) -> Sizes:
    """The sizes of a resolved job's model.

    Raises:
        SpecError: the model is neither known by its name nor a folder here.
    """
    place = Path(job.model.init)
    there = recognise(place, job.model.ckpt_type)
    folder = place if isinstance(there, str) else there.folder
    configs = (_read(folder / name, bounded.CONFIG) for name in config_names() if folder.is_absolute())
    config = next(filter(None, configs), None)
    found = sizes(job.model, config if isinstance(config, dict) else None, _vocabulary_of(job))
    if found is None:
        raise SpecError(
            f"model.init {job.model.init}: its sizes are not known here; give a folder with its config.json, or one of "
            f"{', '.join(KNOWN)}"
        )
    return found


def _manifest_of(job: Job) -> Any:
    """Of the prepared corpus, where it is here."""
    return None if job.data.shards is None else _read(expand(job.data.shards) / "manifest.json", bounded.VOCABULARY)


def _vocabulary_of(job: Job) -> int | None:
    """Tokens of the vocabulary of a prepared corpus, where it is here."""
    match _manifest_of(job):
        case {"vocabulary": {"size": int(size)}}:
            return size
    return None


def samples_of(job: Job) -> tuple[Samples, str]:
    """What a resolved job trains on, and where that is from, in words.

    Raises:
        SpecError: the task takes no steps, or the data are not what it reads.
    """
    counter = TASKS[job.task].samples
    if counter is None:
        raise SpecError(f"task {job.task} takes no steps: there is nothing to estimate")
    return cast("Callable[[Job], tuple[Samples, str]]", load_code(counter))(job)


def full_sentences(job: Job) -> tuple[Samples, str]:
    """Samples of full sentences; see `samples_of`."""
    samples = full_sentence_samples(job)
    return samples, f"samples of {samples.tokens:.0f} tokens"


def pairs(job: Job) -> tuple[Samples, str]:
    """Pairs for the next sentence, by the length of the documents of the job's corpus; see `samples_of`."""
    match _manifest_of(job):
        case {"train": {"documents": int(documents), "tokens": int(tokens)}} if documents and tokens:
            document = tokens / documents
            whose = f"documents of {document:.0f} tokens as in {job.data.shards}"
        case _:
            document, whose = WIKIPEDIA, "documents like Wikipedia's"
    samples = pair_samples(job, document)
    made = f"samples of {samples.tokens:.0f} tokens"
    return samples, made if samples.tokens == job.train.max_seq_length else f"{made}, from {whose}"


def squad(job: Job) -> tuple[Samples, str]:
    """Questions of a SQuAD file, or as many as SQuAD v1.1 has where the file is not here; see `samples_of`.

    Raises:
        SpecError: the data are no SQuAD file.
    """
    place = job.data.train
    if place is None or not Path(place).is_file():
        return SQUAD, "SQuAD v1.1 by its published numbers"
    whole = _read(Path(place), bounded.DATA)
    try:
        texts = [
            (len(asked["question"]), len(paragraph["context"]))
            for article in whole["data"]
            for paragraph in article["paragraphs"]
            for asked in paragraph["qas"]
        ]
    except (KeyError, TypeError):
        raise SpecError(f"data.train: {place}: no SQuAD v1.1 file") from None
    return squad_samples(texts, job.train), f"{len(texts)} questions of {place}"


def _read(path: Path, most: int) -> Any:
    """The JSON of a file of at most so many bytes; None where there is none."""
    try:
        return bounded.read_json(path, most)
    except (OSError, ValueError):
        return None
