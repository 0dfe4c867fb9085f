"""Tensors in one flat buffer, in buckets that are exchanged one after another, and their bits in the ranks' rows.

Every rank averages a share of each tensor. A row is what goes to one rank: its share of all tensors, one after another.

While one bucket is on the network the next one is compressed; and the number of collectives is that of the buckets, not
of the tensors.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

BYTE = 8
"""Values whose signs make one byte; tensors begin at multiples of it."""
_MOST = 4
_LEAST_VALUES = 1 << 20
"""Below that a bucket's message is so short that sending it takes no time to be hidden."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A tensor, or a part of one, in a flat buffer; in values.

    Attributes:
        start: a multiple of 8.
        size: at least 1.
    """

    start: int
    size: int

    @property
    def end(self) -> int:
        """Where the next segment may start."""
        return self.start + up_to(BYTE, self.size)


@dataclass(frozen=True, slots=True)
class Share:
    """A rank's part of a segment; in bytes.

    Attributes:
        offset: where it begins in a row.
        size: bytes of it; the last ranks' shares may be empty in part.
    """

    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Layout:
    """How the bits of some segments are dealt to ranks.

    Attributes:
        segments: in the order of the buffer.
        ranks: how many.
        shares: what each rank has of each segment.
        row: bytes of a row, a multiple of 8.
    """

    segments: tuple[Segment, ...]
    ranks: int
    shares: tuple[Share, ...]
    row: int

    @classmethod
    def of(cls, segments: Sequence[Segment], ranks: int) -> "Layout":
        """The layout for `ranks` ranks; each has at most ``ceil(bytes / ranks)`` of each segment."""
        sizes = [up_to(BYTE * ranks, segment.size) // (BYTE * ranks) for segment in segments]
        offsets = accumulate(sizes, initial=0)
        shares = tuple(Share(offset, size) for offset, size in zip(offsets, sizes, strict=False))
        return cls(tuple(segments), ranks, shares, up_to(BYTE, sum(sizes)))

    def parts(self, number: int) -> Iterable[tuple[slice, slice, slice]]:
        """Where segment `number` is dealt to: rows, bytes in these rows, and values in the buffer.

        At most two: the rows whose share is whole, and the one where the segment ends.
        """
        segment, share = self.segments[number], self.shares[number]
        whole, rest = divmod((segment.end - segment.start) // BYTE, share.size)
        middle = segment.start + whole * share.size * BYTE
        if whole:
            yield slice(0, whole), slice(share.offset, share.offset + share.size), slice(segment.start, middle)
        if rest:
            yield slice(whole, whole + 1), slice(share.offset, share.offset + rest), slice(middle, segment.end)


def line_up(sizes: Iterable[int]) -> tuple[Segment, ...]:
    """Tensors of these sizes, one after another."""
    segments: list[Segment] = []
    for size in sizes:
        segments.append(Segment(segments[-1].end if segments else 0, size))
    return tuple(segments)


def cut(segments: Iterable[Segment], start: int, end: int) -> tuple[Segment, ...]:
    """What of the segments lies between `start` and `end`, multiples of 8; counted from `start`."""
    return tuple(
        Segment(max(segment.start, start) - start, min(segment.start + segment.size, end) - max(segment.start, start))
        for segment in segments
        if max(segment.start, start) < min(segment.start + segment.size, end)
    )


def up_to(multiple: int, size: int) -> int:
    """`size` rounded up to a multiple."""
    return -(-size // multiple) * multiple


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
