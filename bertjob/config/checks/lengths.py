"""The room of a sample: marks, a question, and what is left for the context."""

from bertjob.config.job import Train

MARKS = 3
"""[CLS] and two [SEP] in each sample."""


def complaint(train: Train) -> str | None:
    """What is wrong with the lengths of a section; None where a sample holds at least one token of the context."""
    least = train.max_query_length + MARKS + 1
    if train.max_seq_length >= least:
        return None
    return (
        f"train.max_seq_length {train.max_seq_length} leaves no room for a context beside a question of "
        f"train.max_query_length {train.max_query_length}: at least {least} is needed"
    )
