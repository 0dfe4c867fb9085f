"""A WordPiece vocabulary trained on a corpus; whether a model can be pre-trained with the vocabulary at hand."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from bertjob.errors import DataError
from bertjob.train.data.special_tokens import BERT
from bertjob.train.data.tokenizer import BertTokenizer

ALPHABET: Final = 1000
"""Characters at most, the most frequent ones, as in BERT's own vocabularies; rarer ones become [UNK]."""
SAMPLE_BYTES: Final = 256 << 20
"""Text at most that a vocabulary is trained on."""
_BATCH: Final = 1000


def marks(tokenizer: BertTokenizer) -> dict[str, int]:
    """The ids of the marks, by their names.

    Raises:
        DataError: one is missing, without which nothing can be pre-trained.
    """
    ids = {mark: tokenizer.tokenizer.token_to_id(mark) for mark in tokenizer.marks}
    for mark, number in ids.items():
        if number is None:
            raise DataError(f"{tokenizer.source}: has no token {mark}, which pre-training needs")
    return {mark: int(number) for mark, number in ids.items() if number is not None}


def train_vocabulary(texts: Callable[[], Iterable[str]], size: int) -> list[str]:
    """The tokens of a new vocabulary for lower-cased text, in the order of their ids.

    The library numbers the pieces that it meets in the order of its hash table, which differs from run to run, and ties
    between merges follow these numbers. So all single characters are given to it beforehand, in the order of Unicode.

    Args:
        texts: the corpus, from its beginning at each call; it is read twice.
        size: tokens wanted.

    Raises:
        DataError: the corpus is empty, or `size` has no room for its characters.
    """
    tokenizer = Tokenizer(models.WordPiece(unk_token=BERT.unknown))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    alphabet = _alphabet(tokenizer, texts())
    first = [*BERT, *alphabet, *(f"##{character}" for character in alphabet)]
    if not alphabet:
        raise DataError("the corpus holds no text to train a vocabulary on")
    if size < len(first):
        raise DataError(f"--train-vocab {size}: the corpus' characters alone take {len(first)} tokens")
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        special_tokens=first,
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_batches(texts()), trainer)
    tokens = tokenizer.get_vocab()
    return sorted(tokens, key=tokens.__getitem__)


def write_vocabulary(tokens: Iterable[str], folder: Path) -> Path:
    """Write vocab.txt into `folder`; where it is.

    Raises:
        OSError: it cannot be written.
    """
    path = folder / "vocab.txt"
    path.write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")
    return path


def _alphabet(tokenizer: Tokenizer, texts: Iterable[str]) -> list[str]:
    characters: Counter[str] = Counter()
    for text in texts:
        characters.update(tokenizer.normalizer.normalize_str(text))
    visible = (character for character in characters if not character.isspace())
    return sorted(sorted(visible, key=lambda character: (-characters[character], character))[:ALPHABET])


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    iterator = iter(texts)
    while batch := list(islice(iterator, _BATCH)):
        yield batch
