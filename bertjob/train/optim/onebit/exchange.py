"""The mean of a buffer over ranks at one bit per value, with error feedback; one bucket overlaps the next.

Source: Tang et al., "1-bit Adam", arXiv 2102.02888, section 4 and figure 3. Each rank compresses what it has, with what
it left unsaid before (the worker's error), and sends every other rank its share. Each rank averages its share over the
ranks, compresses the mean likewise (the server's error), and sends it to all. The scale of a tensor, and of each part
of it that is one rank's share, is its root mean square.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from bertjob.train.optim.onebit.codec import codec_for, norms, share_of
from bertjob.train.optim.onebit.layout import BYTE, Bucket, Layout, Segment, cut, up_to
from bertjob.train.optim.onebit.routes import Routes, Transport, Work


class Exchange(Protocol):
    """Replaces values by their mean over ranks, in three steps between which others may be under way."""

    @property
    def errors(self) -> tuple[Tensor, ...]:
        """What this rank has not said yet; all zero at first."""

    @property
    def bytes_sent(self) -> int:
        """What this rank sends to others in one exchange."""

    def keep(self, live: Tensor) -> None:
        """From now on average only values that are `live`; the others are 0 on all ranks.

        Args:
            live: bool, as long as the values, the same on all ranks.
        """

    def begin(self) -> None:
        """Send every rank its share."""

    def relay(self) -> None:
        """Receive own share from all, send its mean to all."""

    def finish(self) -> None:
        """Receive the means, replace the values."""


def exchange(values: Tensor, segments: tuple[Segment, ...], routes: Routes) -> Exchange:
    """An exchange of flat `values` by these routes; each segment has a scale of its own."""
    if routes.inside.size == 1:
        return OneBitExchange(values, segments, routes.between)
    return NodeExchange(values, segments, routes)


class OneBitExchange:
    """At one bit a value (see Exchange)."""

    def __init__(self, values: Tensor, segments: tuple[Segment, ...], transport: Transport) -> None:
        """Exchange `values`, flat, with the ranks of `transport`."""
        layout = Layout.of(segments, transport.size)
        own = [slice(BYTE * share.offset, BYTE * (share.offset + share.size)) for share in layout.shares]
        self._values, self._layout, self._transport = values, layout, transport
        self._codec = codec_for(layout, values.device)
        self._worker = _Sender(torch.zeros_like(values), [slice(segment.start, segment.end) for segment in segments])
        self._server = _Sender(values.new_zeros(BYTE * layout.row), own)
        self._out, self._in, self._means = (_Message(layout, values, layout.ranks) for _ in range(3))
        self._mean = _Message(layout, values, 1)
        self._work: Work | None = None

    @property
    def errors(self) -> tuple[Tensor, ...]:
        """The worker's, ``[n]``, and the server's, ``[8 row]``."""
        return self._worker.error, self._server.error

    @property
    def bytes_sent(self) -> int:
        """A message of scales and bits to each other rank, twice."""
        return 2 * (self._transport.size - 1) * self._mean.whole.shape[1]

    def keep(self, live: Tensor) -> None:
        """Average only these values."""
        self._worker.keep(live)
        self._server.keep(share_of(live, self._layout, self._transport.rank))

    def begin(self) -> None:
        """Send every rank its share."""
        self._worker.error.add_(self._values)
        scales = self._worker.scales()
        self._codec.deal(self._worker.error, scales, self._out.rows)
        self._out.scales.copy_(scales)
        self._work = self._transport.all_to_all(self._out.whole, self._in.whole)

    def relay(self) -> None:
        """Receive own share from all, send its mean to all."""
        self._wait()
        self._codec.add_up(self._in.rows, self._in.scales / self._transport.size, self._server.error)
        scales = self._server.scales()
        self._codec.compress(self._server.error, scales, self._mean.rows[0])
        self._mean.scales.copy_(scales)
        self._work = self._transport.all_gather(self._mean.whole[0], self._means.whole)

    def finish(self) -> None:
        """Receive the means, replace the values."""
        self._wait()
        self._codec.collect(self._means.rows, self._means.scales, self._values)
        self._worker.clear(self._values)

    def _wait(self) -> None:
        assert self._work is not None, "the steps of an exchange come in their order"
        self._work.wait()
        self._work = None


class NodeExchange:
    """In full precision between the ranks of a node, at one bit a value between nodes (see Exchange).

    Each rank of a node averages a part of the values, and exchanges that with the ranks of other nodes that have the
    same part: a node sends as much as one rank would alone.
    """

    def __init__(self, values: Tensor, segments: tuple[Segment, ...], routes: Routes) -> None:
        """Exchange `values`, flat; their number is a multiple of 8 times the ranks of a node."""
        self._inside = routes.inside
        part = len(values) // self._inside.size
        self._own = slice(part * self._inside.rank, part * (self._inside.rank + 1))
        self._values = values
        self._part = values.new_zeros(part)
        self._parts = values.new_zeros(self._inside.size, part)
        own = cut(segments, self._own.start, self._own.stop)
        self._between: Exchange = OneBitExchange(self._part, own, routes.between) if own else _NothingToExchange()

    @property
    def errors(self) -> tuple[Tensor, ...]:
        """Those of the exchange between nodes."""
        return self._between.errors

    @property
    def bytes_sent(self) -> int:
        """Between nodes; what stays inside of one does not count."""
        return self._between.bytes_sent

    def keep(self, live: Tensor) -> None:
        """Average only these values."""
        self._between.keep(live[self._own])

    def begin(self) -> None:
        """Average inside the node, then begin between nodes."""
        self._inside.all_to_all(self._values.view_as(self._parts), self._parts).wait()
        torch.mean(self._parts, 0, out=self._part)
        self._between.begin()

    def relay(self) -> None:
        """Between nodes."""
        self._between.relay()

    def finish(self) -> None:
        """Finish between nodes, then show the ranks of the node each other's part."""
        self._between.finish()
        self._inside.all_gather(self._part, self._values.view_as(self._parts)).wait()


class _NothingToExchange:
    """Where a rank's part of the values, as its peers' on all nodes, is nothing but padding (see Exchange)."""

    errors: tuple[Tensor, ...] = ()
    bytes_sent = 0

    def keep(self, live: Tensor) -> None:
        """There is nothing to keep."""

    def begin(self) -> None:
        """There is nothing to send."""

    def relay(self) -> None:
        """Nothing has come."""

    def finish(self) -> None:
        """The padding stays 0."""


class _Sender:
    """What a rank is about to compress: at first what it left unsaid the last time."""

    def __init__(self, error: Tensor, spans: list[slice]) -> None:
        self.error = error
        self._spans = spans

    def keep(self, live: Tensor) -> None:
        """Count only these values."""
        counts = torch.stack([live[span].sum() for span in self._spans])
        counted = zip(self._spans, counts.tolist(), strict=True)
        self._dead = [(span, live[span]) for span, count in counted if count < span.stop - span.start]
        self._roots = counts.clamp(min=1).to(self.error.dtype).sqrt()

    def clear(self, values: Tensor) -> None:
        """Set all other values to 0."""
        for span, live in self._dead:
            values[span].mul_(live)

    def scales(self) -> Tensor:
        """The root mean square of each span: ``[spans]``."""
        self.clear(self.error)
        return norms(self.error, self._spans) / self._roots


class _Message:
    """Rows of bytes: a scale for each segment, then the bits."""

    def __init__(self, layout: Layout, values: Tensor, rows: int) -> None:
        size = len(layout.segments) * values.element_size()
        header = up_to(BYTE, size)
        self.whole = torch.zeros(rows, header + layout.row, dtype=torch.uint8, device=values.device)
        self.scales = self.whole[:, :size].view(values.dtype)
        self.rows = self.whole[:, header:]


class Pipeline:
    """Replaces a flat buffer by its mean over the ranks: while a bucket is on the network, others are compressed."""

    def __init__(self, values: Tensor, buckets: Sequence[Bucket], routes: Routes, live: Tensor) -> None:
        """Over `values`, divided into `buckets`; for `live` see Exchange.keep."""
        self._buckets = buckets
        self._exchanges = [exchange(values[bucket.span], bucket.segments, routes) for bucket in buckets]
        self.keep(live)

    @property
    def errors(self) -> list[Tensor]:
        """What this rank has not said yet, of all exchanges."""
        return [error for exchanged in self._exchanges for error in exchanged.errors]

    @property
    def bytes_sent(self) -> int:
        """What this rank sends to others each time."""
        return sum(exchanged.bytes_sent for exchanged in self._exchanges)

    def keep(self, live: Tensor) -> None:
        """From now on average only what is live."""
        for bucket, exchanged in zip(self._buckets, self._exchanges, strict=True):
            exchanged.keep(live[bucket.span])

    def average(self, prepare: Callable[[Sequence[int]], None], use: Callable[[Sequence[int]], None]) -> None:
        """Exchange all buckets; called by all ranks.

        Args:
            prepare: called with the numbers of a bucket's tensors before it is sent.
            use: called with them once their mean is there.
        """
        pairs = list(zip(self._buckets, self._exchanges, strict=True))
        for bucket, exchanged in pairs:
            prepare(bucket.tensors)
            exchanged.begin()
        for exchanged in self._exchanges:
            exchanged.relay()
        for bucket, exchanged in pairs:
            exchanged.finish()
            use(bucket.tensors)
