"""A store that believes only the ranks of its own start.

Anyone who reaches rank 0's port can read, write and delete in torch's TCPStore, and list its keys. So every value is
signed over key and value with a key of this start, also those that gloo and NCCL exchange to find each other. A value
that is not signed counts as absent: waiting for it goes on. What a stranger can still do is to delete values, which
stops a run but tells it nothing.

torch's groups call this from C++ (PythonStore in torch/csrc/distributed/c10d/init.cpp): gloo by set, wait
and get. NCCL sends its 128 bytes by set and get, in groups of more than 128 ranks by multi_get; asks by check and get,
below all prefixes, whether a rank has signalled an error; and clones the store of a group that is split
(ProcessGroupNCCL.cpp: broadcastUniqueNCCLID, allgatherUniqueNCCLIDs, getSignalSrcRank, split). Neither deletes, counts
keys or uses queues, which are refused. Counters cannot be signed, so there is no `add`; torch's barriers over a store,
which need it, are off unless TORCH_DIST_INIT_BARRIER is set. Of NCCL this is read, not measured: no GPU has run it.
"""

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, NoReturn

import torch.distributed as dist

from bertjob.train.distributed.secret import SIGNATURE_BYTES, Key

_LOOK_AGAIN_SECONDS = 0.2
_ATTEMPTS = 10
_kept: list["SignedStore"] = []
"""All stores: torch's groups keep the C++ half of one only, and would find no methods once Python has dropped its own
(pybind11 issue 1333)."""


class SignedStore(dist.Store):
    """Values of another store, signed; see the module."""

    def __init__(self, inner: dist.Store, key: Key, on_stranger: Callable[[str], object]) -> None:
        """Sign with `key` what is put into `inner`; `on_stranger` is given the key of each value that is not signed."""
        super().__init__()
        self._inner: Any = inner  # of whose methods and their bytes torch's stubs know only a part
        self._key = key
        self._on_stranger = on_stranger
        _kept.append(self)

    def set(self, key: str, value: str | bytes) -> None:
        """Put a value there."""
        self._inner.set(key, self._signed(key, _bytes(value)))

    def get(self, key: str) -> bytes:
        """A value, once it is there.

        Raises:
            RuntimeError: it does not come in time, or rank 0 is gone.
        """
        (value,) = self.multi_get([key])
        return value

    def multi_get(self, keys: Sequence[str]) -> list[bytes]:
        """Several values, once all are there.

        Raises:
            RuntimeError: as `get`.
        """
        deadline = time.monotonic() + self._inner.timeout.total_seconds()
        while True:
            found = [self._verified(key, sealed) for key, sealed in zip(keys, self._sealed(keys), strict=True)]
            values = [value for value in found if value is not None]
            if len(values) == len(keys):
                return values
            _look_again(keys, deadline)

    def check(self, keys: Sequence[str]) -> bool:
        """Whether all of these are there.

        Raises:
            RuntimeError: rank 0 is gone.
        """
        return bool(self._inner.check(list(keys))) and not self._missing(keys)

    def wait(self, keys: Sequence[str], timeout: timedelta | None = None) -> None:
        """Wait until all of these are there.

        Raises:
            RuntimeError: as `get`.
        """
        seconds = (self._inner.timeout if timeout is None else timeout).total_seconds()
        deadline = time.monotonic() + seconds
        while True:
            self._inner.wait(list(keys), timedelta(seconds=max(0.001, deadline - time.monotonic())))
            if not self._missing(keys):
                return
            _look_again(keys, deadline)

    def compare_set(self, key: str, expected: str | bytes, desired: str | bytes) -> bytes:
        """Put a value there if there is none; the value that is there then.

        Raises:
            RuntimeError: rank 0 is gone.
        """
        if _bytes(expected):
            raise NotImplementedError("a value that is there is not replaced by comparison")
        sealed = self._signed(key, _bytes(desired))
        there = b""
        for _ in range(_ATTEMPTS):  # a stranger's value makes way
            there = self._inner.compare_set(key, there, sealed)
            value = self._verified(key, there)
            if value is not None:
                return value
        self._inner.set(key, sealed)
        return _bytes(desired)

    def add(self, key: str, amount: int) -> NoReturn:
        """Counters cannot be signed, so nothing may be decided by them.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(f"{key}: this store has no counters; unset TORCH_DIST_INIT_BARRIER")

    def clone(self) -> "SignedStore":
        """Another connection to the same values; torch asks for one since 2.10."""
        return SignedStore(self._inner.clone(), self._key, self._on_stranger)

    def _sealed(self, keys: Sequence[str]) -> list[bytes]:
        found: list[bytes] = self._inner.multi_get(list(keys))
        return found

    def _missing(self, keys: Sequence[str]) -> bool:
        """Whether a value among those of `keys`, which are all there, is not signed."""
        return any(self._verified(key, sealed) is None for key, sealed in zip(keys, self._sealed(keys), strict=True))

    def _signed(self, key: str, value: bytes) -> bytes:
        return self._key.sign(key.encode(), value) + value

    def _verified(self, key: str, sealed: bytes) -> bytes | None:
        """The value in what was found; None when no rank of this start has put it there."""
        signature, value = sealed[:SIGNATURE_BYTES], sealed[SIGNATURE_BYTES:]
        if self._key.signed(signature, key.encode(), value):
            return value
        if sealed:  # nothing: compare_set has found nothing
            self._on_stranger(key)
        return None


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)


def _look_again(keys: Sequence[str], deadline: float) -> None:
    if time.monotonic() >= deadline:
        raise dist.DistStoreError(f"no rank of this start has said {', '.join(keys)} in time")
    time.sleep(_LOOK_AGAIN_SECONDS)
