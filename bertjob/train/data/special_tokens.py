"""The marks of a vocabulary, tokens that stand for no text, by the names that BERT and RoBERTa give them."""

from collections.abc import Container
from typing import Final, NamedTuple


class MarkNames(NamedTuple):
    """What the marks of a vocabulary are called.

    Attributes:
        pad: fills up rows.
        unknown: stands for what the vocabulary cannot spell.
        cls: begins a sample.
        sep: ends a piece of text.
        mask: hides a token.
    """

    pad: str
    unknown: str
    cls: str
    sep: str
    mask: str


BERT: Final = MarkNames("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ROBERTA: Final = MarkNames("<pad>", "<unk>", "<s>", "</s>", "<mask>")


def marks_of(tokens: Container[str]) -> MarkNames:
    """The names that a vocabulary uses; BERT's where it has neither's, for messages."""
    return ROBERTA if ROBERTA.cls in tokens and BERT.cls not in tokens else BERT
