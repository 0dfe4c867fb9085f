"""The exchanges of all buckets of a flat buffer, one overlapping the next."""

from collections.abc import Callable, Sequence

from torch import Tensor

from bertjob.train.optim.onebit.buckets import Bucket
from bertjob.train.optim.onebit.exchange import exchange
from bertjob.train.optim.onebit.routes import Routes


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
