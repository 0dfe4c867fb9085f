"""What one task requires of its job, beyond what every training does; registry/tasks.py says whose check is which."""

from collections.abc import Iterator

from bertjob.config.job import Job, Train

MARKS = 3
"""[CLS] and two [SEP] in each sample."""


def lengths(train: Train) -> str | None:
    """What is wrong with the lengths of a section; None where a sample holds at least one token of the context."""
    least = train.max_query_length + MARKS + 1
    if train.max_seq_length >= least:
        return None
    return (
        f"train.max_seq_length {train.max_seq_length} leaves no room for a context beside a question of "
        f"train.max_query_length {train.max_query_length}: at least {least} is needed"
    )


def question_answering(job: Job) -> Iterator[str]:
    """What is wrong with a job that learns to answer questions, one line each."""
    if job.data.train is None:
        yield "data.train is not said: a SQuAD v1.1 file, or demo"
    if wrong := lengths(job.train):
        yield wrong


def masked_tokens(job: Job) -> Iterator[str]:
    """What is wrong with a job that predicts masked tokens of full sentences, one line each."""
    yield from _shards(job)
    yield from _masking(job)


def next_sentences(job: Job) -> Iterator[str]:
    """What is wrong with a job that predicts masked tokens and next sentences, one line each."""
    yield from _shards(job)
    if job.model.kind == "roberta":
        yield "model.kind roberta has no segments, and so no next sentence: say task mlm"
    yield from _masking(job)


def _shards(job: Job) -> Iterator[str]:
    if job.data.shards is None:
        yield "data.shards is not said: a folder that `bertjob data prepare` has made"
    if job.train.max_steps is None:
        yield f"train.max_steps is not said: task {job.task} counts steps, not epochs"


def _masking(job: Job) -> Iterator[str]:
    said = job.pretraining
    if said.mask_token + said.random_token > 1:
        yield f"pretraining.mask_token {said.mask_token} and random_token {said.random_token} are more than all"
    if job.train.batching == "pools":
        yield "train.batching pools sorts a whole training set, which pre-training has not: say packed or padded"
