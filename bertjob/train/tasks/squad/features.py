"""Questions and contexts as BERT reads them: ``[CLS] question [SEP] window of the context [SEP]``.

RoBERTa reads ``<s> question </s></s> window of the context </s>``.

The windows, the positions of answers and the rule of the best context are those of the original run_squad (Devlin et
al., arXiv 1810.04805): a context longer than a sample becomes several windows, `doc_stride` tokens apart, and every
question is kept. A window that does not hold the whole answer has it at [CLS], position 0.

All arrays are flat, with the samples one after another, so that they can be written as they are and mapped into memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding

from bertjob.config.checks.tasks import MARKS, lengths
from bertjob.config.job import Train
from bertjob.errors import SpecError
from bertjob.formats.squad import Answer, SquadSet
from bertjob.train.data.batch import Bool, Int32, Int64, ragged_arange, ragged_places
from bertjob.train.data.tokenizer import BertTokenizer


class Settings(msgspec.Struct, frozen=True):
    """How long samples are, in tokens."""

    max_seq_length: int
    doc_stride: int
    max_query_length: int

    @classmethod
    def of(cls, train: Train) -> "Settings":
        """From a job's section `train`.

        Raises:
            SpecError: a sample has no room for a question and a context.
        """
        if wrong := lengths(train):
            raise SpecError(wrong)
        return cls(train.max_seq_length, train.doc_stride, train.max_query_length)


@dataclass(frozen=True, slots=True)
class Features:
    """F samples (windows) of one SQuAD set; T is the number of their tokens, C that of all distinct contexts.

    Attributes:
        input_ids: int32 ``[T]``.
        offsets: int64 ``[F + 1]``, where each sample begins in input_ids, and T.
        query_length: int32 ``[F]``, tokens of the question, and one for RoBERTa's second mark; the context begins at
            position query_length + 2.
        start: int32 ``[F]``, position of the answer's first token in the sample; 0 where the window lacks it.
        end: int32 ``[F]``, position of its last token.
        question: int32 ``[F]``, index of the question in the set, ascending.
        window: int64 ``[F]``, index of the window's first context token in `spans`.
        spans: int32 ``[C, 2]``, first character of each context token, and one past its last, in its paragraph.
        best_context: bool ``[T]``: of all windows, this one shows the context token with most text around it.
    """

    input_ids: Int32
    offsets: Int64
    query_length: Int32
    start: Int32
    end: Int32
    question: Int32
    window: Int64
    spans: Int32
    best_context: Bool

    def __len__(self) -> int:
        return len(self.query_length)

    @property
    def lengths(self) -> Int64:
        """Tokens of each sample, ``[F]``."""
        return np.diff(self.offsets)


def make_features(data: SquadSet, tokenizer: BertTokenizer, settings: Settings) -> Features:
    """Tokenise a set; each distinct context and question is encoded once.

    Raises:
        SpecError: a sample has no room for a context.
    """
    contexts, context_of = _distinct([paragraph.context for paragraph in data.paragraphs])
    texts, text = _distinct([question.text for question in data.questions])
    context = _Encoded.of(tokenizer.tokenizer.encode_batch(contexts, add_special_tokens=False))
    query = _Encoded.of(tokenizer.tokenizer.encode_batch(texts, add_special_tokens=False))

    # One row a question.
    context_index = context_of[np.array([question.paragraph for question in data.questions])]
    asked = np.minimum(query.lengths[text], settings.max_query_length)
    query_length = asked + tokenizer.separators - 1
    context_length = context.lengths[context_index]
    room = settings.max_seq_length - query_length - MARKS
    if room.min(initial=1) < 1:
        raise SpecError(
            f"train.max_seq_length {settings.max_seq_length} leaves no room for a context: at least"
            f" {settings.max_seq_length + 1 - room.min()} is needed"
        )
    stride = np.minimum(room, settings.doc_stride)
    windows = 1 + np.maximum(0, -(-(context_length - room) // stride))
    first, last = _answer_tokens(data, context, context_index)

    # From here on one row a sample: window `number` of its question.
    question, number = np.repeat(np.arange(len(windows)), windows), ragged_arange(windows)
    text, context_index, asked, query_length, context_length, room, stride, windows, first, last = (
        column[question]
        for column in (text, context_index, asked, query_length, context_length, room, stride, windows, first, last)
    )
    begin = number * stride
    shown = np.minimum(context_length - begin, room)
    window = context.starts[context_index] + begin
    offsets = np.concatenate(([0], np.cumsum(query_length + shown + MARKS)))

    query_places = ragged_places(offsets[:-1] + 1, asked)
    context_places = ragged_places(offsets[:-1] + query_length + 2, shown)
    input_ids = np.full(offsets[-1], tokenizer.sep, np.int32)
    input_ids[offsets[:-1]] = tokenizer.cls
    input_ids[query_places] = query.ids[ragged_places(query.starts[text], asked)]
    input_ids[context_places] = context.ids[ragged_places(window, shown)]

    cut = windows > 1
    best = np.ones(len(context_places), np.bool_)
    best[np.repeat(cut, shown)] = _best_context(number[cut], windows[cut], begin[cut], shown[cut], stride[cut])
    best_context = np.zeros(offsets[-1], np.bool_)
    best_context[context_places] = best

    inside = (first >= begin) & (last < begin + shown)
    into_sample = query_length + 2 - begin
    return Features(
        input_ids,
        offsets,
        query_length.astype(np.int32),
        np.where(inside, first + into_sample, 0).astype(np.int32),
        np.where(inside, last + into_sample, 0).astype(np.int32),
        question.astype(np.int32),
        window,
        context.spans,
        best_context,
    )


@dataclass(frozen=True, slots=True)
class _Encoded:
    """Tokens of several texts, one after another; `starts` is where each text begins."""

    ids: Int32
    spans: Int32
    starts: Int64
    lengths: Int64

    @classmethod
    def of(cls, encodings: Sequence[Encoding]) -> "_Encoded":
        lengths = np.array([len(encoding) for encoding in encodings], np.int64)
        ids = np.concatenate([np.array(encoding.ids, np.int32) for encoding in encodings])
        spans = np.concatenate([np.array(encoding.offsets, np.int32).reshape(-1, 2) for encoding in encodings])
        return cls(ids, spans, np.cumsum(lengths) - lengths, lengths)


def _distinct(texts: Sequence[str]) -> tuple[list[str], Int64]:
    """The distinct texts, and the index of each text among them."""
    index: dict[str, int] = {}
    indices = [index.setdefault(text, len(index)) for text in texts]
    return list(index), np.array(indices, np.int64)


def _answer_tokens(data: SquadSet, context: _Encoded, context_index: Int64) -> tuple[Int64, Int64]:
    """First and last context token of each question's first answer; beyond every window where there is none.

    A token belongs to the answer if it shares a character with it. Tokens are in the order of their characters, so
    both are found by bisection, over all contexts at once: each context's characters are moved behind the last's.
    """
    answers = [question.answers[0] if question.answers else Answer("", 0) for question in data.questions]
    start = np.array([answer.start for answer in answers], np.int64)
    end = start + np.array([len(answer.text) for answer in answers], np.int64)
    apart = max(len(paragraph.context) for paragraph in data.paragraphs) + 1
    owner = np.repeat(np.arange(len(context.lengths)), context.lengths) * apart
    base = context.starts[context_index]
    first = np.searchsorted(owner + context.spans[:, 1], context_index * apart + start, side="right") - base
    last = np.searchsorted(owner + context.spans[:, 0], context_index * apart + end, side="left") - 1 - base
    nothing = last < first
    return np.where(nothing, np.iinfo(np.int64).max // 2, first), np.where(nothing, np.iinfo(np.int64).max // 2, last)


def _best_context(number: Int64, windows: Int64, begin: Int64, shown: Int64, stride: Int64) -> Bool:
    """For each context token of the samples of cut contexts: whether no other window shows it with more context.

    The original's measure: the smaller number of tokens to its left and right in the window, plus a hundredth of the
    window's length; of equals the first window wins.

    Args:
        number: ``[F]``, the window's number within its question.
        windows: ``[F]``, windows of the question.
        begin: ``[F]``, the window's first token within the context.
        shown: ``[F]``, its tokens.
        stride: ``[F]``, tokens from one window to the next.
    """
    place = ragged_places(begin, shown)
    row = np.repeat(np.arange(len(shown)), shown)

    def measure(rows: Int64) -> NDArray[np.float64]:
        left = place - begin[rows]
        right = begin[rows] + shown[rows] - 1 - place
        there = (left >= 0) & (right >= 0)
        return np.where(there, np.minimum(left, right) + 0.01 * shown[rows], -np.inf)

    own = measure(row)
    best = np.ones(len(place), np.bool_)
    for distance in range(1, int((-(-shown // stride)).max(initial=0)) + 1):
        before = np.flatnonzero(number[row] >= distance)
        after = np.flatnonzero(number[row] + distance < windows[row])
        best[before] &= own[before] > measure(row - distance)[before]
        best[after] &= own[after] >= measure(np.minimum(row + distance, len(shown) - 1))[after]
    return best
