"""The tensors of an optimizer in one flat buffer, in a few buckets that are exchanged one after another.

While one bucket is on the network the next one is compressed; and the number of collectives is that of the buckets, not
of the tensors.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bertjob.train.optim.onebit.layout import BYTE, Segment, line_up, up_to

_MOST = 4
_LEAST_VALUES = 1 << 20
"""Below that a bucket's message is so short that sending it takes no time to be hidden."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Some tensors, one after another.

    Attributes:
        tensors: their numbers.
        span: their part of the flat buffer.
        segments: where each is in that part.
    """

    tensors: range
    span: slice
    segments: tuple[Segment, ...]


def fill(sizes: Sequence[int], multiple: int) -> tuple[Bucket, ...]:
    """Buckets of about the same size.

    Args:
        sizes: values of each tensor.
        multiple: a bucket's length is a multiple of 8 times this.
    """
    total = sum(sizes)
    count = max(1, min(_MOST, total // _LEAST_VALUES))
    buckets: list[Bucket] = []
    for tensors in _shared_out(sizes, total / count):
        segments = line_up(sizes[number] for number in tensors)
        start = buckets[-1].span.stop if buckets else 0
        end = start + up_to(BYTE * multiple, segments[-1].end)
        buckets.append(Bucket(tensors, slice(start, end), segments))
    return tuple(buckets)


def _shared_out(sizes: Iterable[int], enough: float) -> Iterable[range]:
    """Ranges of tensors that hold `enough` values each; the last one what is left."""
    first = number = held = 0
    for number, size in enumerate(sizes, start=1):
        held += size
        if held >= enough:
            yield range(first, number)
            first, held = number, 0
    if first < number:
        yield range(first, number)
