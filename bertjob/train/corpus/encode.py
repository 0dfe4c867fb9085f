"""Sentences to token ids, many times faster than sentence by sentence.

BERT's rules look at one word at a time: what lies between two spaces becomes the same tokens wherever it stands. So
each distinct word is tokenised once and then looked up; a new word of plain ASCII is cut at its punctuation, as BERT
does, and most of its parts are known too. RoBERTa's bytes take the one space in front of a word along, and are looked
up with it. A tokenizer of another kind gets whole sentences.

To RoBERTa a word at the beginning of a text is another one than the same word behind a space. The sentences of a
document stand on lines of their own here, but follow one another in running text: all but the first get a space.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

import numpy as np
from tokenizers import Encoding

from bertjob.train.data.batch import Int32, Int64, ragged_places
from bertjob.train.data.tokenizer import BertTokenizer

KNOWN_WORDS: Final = 1 << 18
"""Distinct words that are remembered, some 60 MB; more are forgotten together."""
_END: Final = "\n"
"""Stands behind each sentence as a word; no sentence holds one."""
_PARTS: Final = re.compile(r"[A-Za-z0-9]+|[!-~]")
"""Of a word of printable ASCII; all of its other characters are punctuation by BERT's rules."""
_SPACED: Final = re.compile(r"\n| ?[^ \n]+")
"""A word with the space in front of it, or the end of a sentence."""
_BERT: Final = ("BertNormalizer", "BertPreTokenizer", "WordPiece")
_ROBERTA: Final = (None, "ByteLevel", "BPE")
"""Normalizer, pre-tokenizer and model of those that look at one word at a time, RoBERTa's with its space."""

Ragged = tuple[Int32, Int64]
"""Tokens of several texts, one after another, and the number of each text's."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Tokens of documents, flat; sentences and documents without tokens are left out.

    Attributes:
        tokens: int32 ``[T]``.
        sentences: tokens of each sentence, int64 ``[S]``.
        documents: sentences of each document, int64 ``[D]``.
    """

    tokens: Int32
    sentences: Int64
    documents: Int64


class Encoder:
    """Tokenises documents and remembers words; what it yields does not depend on what it remembers."""

    def __init__(self, tokenizer: BertTokenizer, known_words: int = KNOWN_WORDS) -> None:
        """Of a tokenizer, whose marks are from now on plain text where they stand in a text."""
        self._tokenizer = tokenizer.tokenizer
        self._tokenizer.encode_special_tokens = True
        self._model = self._tokenizer.model
        self._by_words = word_by_word(tokenizer)
        self._spaced = tokenizer.byte_level
        self._lowercase = self._by_words and not self._spaced and bool(self._tokenizer.normalizer.lowercase)
        self._known_words = known_words
        self._words = _Known(self._whole if self._spaced else self._of_words)
        self._parts = _Known(self._of_parts)

    def encode(self, documents: Sequence[Sequence[str]]) -> Encoded:
        """The tokens of `documents`, each a list of sentences, without [CLS] and [SEP]."""
        sentences = list(chain.from_iterable(map(_running, documents) if self._spaced else documents))
        tokens, lengths = self._of_sentences(sentences)
        kept = lengths > 0
        owner = np.repeat(np.arange(len(documents)), [len(document) for document in documents])
        counts = np.bincount(owner[kept], minlength=len(documents))
        return Encoded(tokens, lengths[kept], counts[counts > 0])

    def _of_sentences(self, sentences: list[str]) -> Ragged:
        if not self._by_words or not sentences:
            return self._whole(sentences)
        for known in (self._words, self._parts):
            if len(known) > self._known_words:
                known.forget()
        words = _spaced_words(sentences) if self._spaced else [*f" {_END} ".join(sentences).split(" "), _END]
        codes, tokens, counts = self._words.look_up(words)
        ends = np.cumsum(counts)[codes == 0]
        return tokens, np.diff(ends, prepend=0)

    def _of_words(self, words: list[str]) -> Ragged:
        """Of new words: those of printable ASCII by their parts, the others whole."""
        lower = str.lower if self._lowercase else str
        parts = [_PARTS.findall(lower(word)) if _is_plain(word) else [word] for word in words]
        _, tokens, counts = self._parts.look_up(list(chain.from_iterable(parts)))
        ends = np.cumsum([len(each) for each in parts])
        bounds = np.concatenate([[0], np.cumsum(counts)])[ends]
        return tokens, np.diff(bounds, prepend=0)

    def _of_parts(self, parts: list[str]) -> Ragged:
        """Of new parts: what is left as it is by all but the last of BERT's rules goes to that one directly."""
        odd = [part for part in parts if not _is_plain(part)]
        whole = dict(zip(odd, (encoding.ids for encoding in self._encodings(odd)), strict=True))
        tokenize = self._model.tokenize
        ids = [whole[part] if part in whole else [token.id for token in tokenize(part)] for part in parts]
        return _ragged(ids)

    def _whole(self, sentences: list[str]) -> Ragged:
        return _ragged([encoding.ids for encoding in self._encodings(sentences)])

    def _encodings(self, texts: list[str]) -> list[Encoding]:
        return self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)


class _Known:
    """Texts whose tokens are known, by number; number 0 is the end of a sentence, which has none."""

    def __init__(self, encode: Callable[[list[str]], Ragged]) -> None:
        self._encode = encode
        self.forget()

    def __len__(self) -> int:
        return len(self._codes)

    def forget(self) -> None:
        """Begin anew."""
        self._codes = _Codes({_END: 0})
        self._tokens = np.zeros(0, np.int32)
        self._starts = np.zeros(1, np.int64)
        self._counts = np.zeros(1, np.int64)

    def look_up(self, texts: list[str]) -> tuple[Int64, Int32, Int64]:
        """The texts' numbers, all of their tokens, and the number of each text's."""
        codes = np.fromiter(map(self._codes.__getitem__, texts), np.int64, len(texts))
        new, self._codes.new = self._codes.new, []
        if new:
            tokens, counts = self._encode(new)
            starts = len(self._tokens) + np.cumsum(counts) - counts
            self._tokens = np.concatenate([self._tokens, tokens])
            self._starts = np.concatenate([self._starts, starts])
            self._counts = np.concatenate([self._counts, counts])
        counts = self._counts[codes]
        return codes, self._tokens[ragged_places(self._starts[codes], counts)], counts


class _Codes(dict[str, int]):
    """Texts by number; one that is asked for the first time gets the next."""

    def __init__(self, known: dict[str, int]) -> None:
        super().__init__(known)
        self.new: list[str] = []

    def __missing__(self, text: str) -> int:
        self.new.append(text)
        self[text] = code = len(self)
        return code


def word_by_word(tokenizer: BertTokenizer) -> bool:
    """Whether a space always parts tokens and no token depends on what is beyond it, so that words can be looked up."""
    parts = json.loads(tokenizer.tokenizer.to_str())
    kinds = tuple((parts[part] or {}).get("type") for part in ("normalizer", "pre_tokenizer", "model"))
    added = [token["content"] for token in parts["added_tokens"] if not token["special"]]
    if kinds == _ROBERTA and (parts["model"]["dropout"] or not parts["pre_tokenizer"]["use_regex"]):
        return False
    return kinds in (_BERT, _ROBERTA) and not added


def _running(document: Sequence[str]) -> list[str]:
    """The sentences of a document as they stand in running text."""
    return [*document[:1], *(f" {sentence}" for sentence in document[1:])]


def _spaced_words(sentences: list[str]) -> list[str]:
    """The words of sentences, each with its space; a sentence in which spaces stand together or last is one word."""
    odd = [sentence.endswith(" ") or "  " in sentence for sentence in sentences]
    if not any(odd):
        return _SPACED.findall(f"{_END.join(sentences)}{_END}")
    words = ([sentence] if alone else _SPACED.findall(sentence) for sentence, alone in zip(sentences, odd, strict=True))
    return [word for each in words for word in (*each, _END)]


def _is_plain(word: str) -> bool:
    return word.isascii() and word.isprintable()


def _ragged(ids: list[list[int]]) -> Ragged:
    lengths = np.array([len(each) for each in ids], np.int64)
    return np.fromiter(chain.from_iterable(ids), np.int32, int(lengths.sum())), lengths
