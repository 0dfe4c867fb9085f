"""From the scores of first and last tokens to answers in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bertjob.train.data.batch import Bool, Int32, Int64
from bertjob.train.tasks.squad.features import Features

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

IMPOSSIBLE: Final = -1e30
"""Score of a token that cannot begin or end an answer; finite, so that sums and softmax stay numbers."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Possible answers of one window.

    Attributes:
        spans: int32 ``[N, 2]``, first character in the context, and one past the last.
        logits: float32 ``[N, 2]``, scores of the first and the last token.
    """

    spans: Int32
    logits: Float32


@dataclass(frozen=True, slots=True)
class Answer:
    """One of a question's n best answers.

    Attributes:
        text: the words as they stand in the context; empty where the question has no possible answer.
        start: index of its first character in the context.
        end: one past its last character.
        probability: softmax of the scores over the question's n best.
        start_logit: score of its first token.
        end_logit: score of its last token.
    """

    text: str
    start: int
    end: int
    probability: float
    start_logit: float
    end_logit: float


def window_candidates(
    features: Features, samples: Int64, start: Float32, end: Float32, n_best: int, max_answer_length: int
) -> list[Candidates]:
    """For each sample the possible answers that its best tokens form.

    Of the context's tokens the `n_best` first and the `n_best` last are combined; a first token must be where this
    window is its best context, the last not before the first, and both at most `max_answer_length` tokens apart. Where
    no combination is possible, the single best possible answer is taken.

    Args:
        features: all samples.
        samples: B of them.
        start: ``[B, L]``, scores of the tokens as first of the answer.
        end: ``[B, L]``, as last.
        n_best: tokens of each kind to combine.
        max_answer_length: tokens of an answer at most.
    """
    places = np.arange(start.shape[1])
    lengths = features.lengths[samples]
    in_context = (places >= features.query_length[samples, None] + 2) & (places < lengths[:, None] - 1)
    tokens = np.minimum(features.offsets[samples, None] + places, len(features.best_context) - 1)
    may_begin = in_context & features.best_context[tokens]
    begins, ends = _scores(start, may_begin), _scores(end, in_context)

    first = _best(begins, n_best)
    last = _best(ends, n_best)
    span = last[:, None, :] - first[:, :, None]
    possible = (span >= 0) & (span < max_answer_length)
    possible &= np.take_along_axis(may_begin, first, 1)[:, :, None] & np.take_along_axis(in_context, last, 1)[:, None]

    found = []
    for row, sample in enumerate(samples.tolist()):
        pairs = np.nonzero(possible[row])
        firsts, lasts = first[row, pairs[0]], last[row, pairs[1]]
        if not len(firsts):
            firsts, lasts = _best_pair(begins[row], ends[row], may_begin[row], in_context[row], max_answer_length)
        into_spans = features.window[sample] - features.query_length[sample] - 2
        spans = np.stack((features.spans[into_spans + firsts, 0], features.spans[into_spans + lasts, 1]), 1)
        found.append(Candidates(spans, np.stack((begins[row, firsts], ends[row, lasts]), 1)))
    return found


def best_answers(windows: Sequence[Candidates], context: str, n_best: int) -> list[Answer]:
    """The `n_best` answers of a question of different texts, best first, from the candidates of all its windows.

    There is always one: it is empty if there are no candidates, which is where a context has no tokens.
    """
    spans = np.concatenate([window.spans for window in windows])
    logits = np.concatenate([window.logits for window in windows]).astype(np.float64)
    kept: dict[str, int] = {}
    for index in np.argsort(-logits.sum(1), kind="stable").tolist():
        kept.setdefault(context[spans[index, 0] : spans[index, 1]], index)
        if len(kept) == n_best:
            break
    if not kept:
        return [Answer("", 0, 0, 1.0, 0.0, 0.0)]
    best = list(kept.values())
    probabilities = _softmax(logits[best].sum(1)).tolist()
    (starts, ends), (start_logits, end_logits) = spans[best].T.tolist(), logits[best].T.tolist()
    return list(map(Answer, kept, starts, ends, probabilities, start_logits, end_logits))


def _scores(logits: Float32, possible: Bool) -> Float32:
    """Finite scores, whatever the model says."""
    return np.where(possible & ~np.isnan(logits), np.clip(logits, IMPOSSIBLE, -IMPOSSIBLE), np.float32(IMPOSSIBLE))


def _best(scores: Float32, count: int) -> Int64:
    """Places of each row's best scores, best first, of equals the first: ``[B, min(count, L)]``."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :count]


def _best_pair(begins: Float32, ends: Float32, may_begin: Bool, may_end: Bool, longest: int) -> tuple[Int64, Int64]:
    """First and last token of one sample's best possible answer, of all: arrays of one place, or of none."""
    firsts = np.flatnonzero(may_begin)
    lasts = firsts[:, None] + np.arange(longest)
    inside = lasts < len(ends)
    inside &= may_end[np.where(inside, lasts, 0)]
    scores = np.where(inside, begins[firsts, None] + ends[np.where(inside, lasts, 0)], -np.inf)
    if not inside.any():
        return firsts[:0], firsts[:0]
    row, column = np.unravel_index(np.argmax(scores), scores.shape)
    return firsts[row : row + 1], lasts[row, column : column + 1]


def _softmax(scores: Float64) -> Float64:
    powers = np.exp(scores - scores.max())
    softmax: Float64 = powers / powers.sum()
    return softmax
