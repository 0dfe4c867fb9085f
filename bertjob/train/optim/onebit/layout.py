"""Where things stand: tensors in one flat buffer, and their bits in the rows that ranks send each other.

Every rank averages a share of each tensor. A row is what goes to one rank: its share of all tensors, one after another.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

BYTE = 8
"""Values whose signs make one byte; tensors begin at multiples of it."""


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
