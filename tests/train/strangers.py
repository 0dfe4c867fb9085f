"""A stranger at rank 0's port: it knows the protocol, the run's prefix and every key, but not the secret.

``python strangers.py HOST PORT RUN JOB_ID`` does all that one can do.
"""

import contextlib
import os
import pickle
import socket
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch.distributed as dist

from bertjob.train.distributed.secret import new_secret
from bertjob.train.distributed.signed_store import SignedStore


class Code:
    """Read as a pickle, it makes a folder."""

    def __init__(self, mark: Path) -> None:
        self._mark = str(mark)

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (self._mark,)


class Stranger:
    """Connects as a rank does; what it can do is public."""

    def __init__(self, port: int, run: Path, job_id: str = "local", host: str = "127.0.0.1") -> None:
        """Connect to the store of `run`, as soon as it listens."""
        self.mark = run.parent / "code-ran"
        self._where = host, port
        self._prefix = f"bertjob/{job_id}/{run}"
        self._all = self._connect()
        self.table = dist.PrefixStore(self._prefix, self._all)
        self.signed = SignedStore(self.table, new_secret().key(f"store {self._prefix}"), lambda key: None)

    def _connect(self) -> dist.TCPStore:
        seconds = timedelta(seconds=120)
        return dist.TCPStore(*self._where, is_master=False, wait_for_workers=False, timeout=seconds)

    def end_as_completed(self) -> None:
        """What ended a job before values were signed, in its form of then and of now."""
        self.table.compare_set("departure", "", "0\n\nall done")
        for line in ("0\n\nall done", '{"code":0,"who":"","line":"all done"}'):
            self.table.set("departure", line)

    def sign(self) -> None:
        """Sign with another secret."""
        self.signed.set("departure", '{"code":1,"who":"rank 1 (here)","line":"the end"}')
        self.signed.compare_set("departure", "", '{"code":85,"who":"","line":"stop"}')

    def count(self) -> None:
        """Make counters of what ranks read."""
        for key in ("departure", "left/1", "ring"):
            with contextlib.suppress(RuntimeError):  # the store ends a connection that counts what is no number
                dist.PrefixStore(self._prefix, self._connect()).add(key, 1)

    def send_pickles(self) -> None:
        """Replace all that there is by code."""
        code = pickle.dumps(Code(self.mark))
        for key in self._all.list_keys():
            self._all.set(key, code)
        for key in ("departure", "places", "ring", "left/1", "host/1"):
            self.table.set(key, code)

    def delete(self) -> None:
        """Take away what may be read again."""
        for key in ("host/0", "host/1", "places", "departure"):
            self.table.delete_key(key)

    def babble(self) -> None:
        """Send what is no message, and leave connections open in the middle of one."""
        greeting = b"\0" + (0x3C85F7CE).to_bytes(4, "little")  # torch's VALIDATE
        for text in (
            os.urandom(4096),
            b"GET / HTTP/1.1\r\n\r\n",
            greeting + b"\1" + b"\xff" * 64,
            greeting + bytes(64),
        ):
            with socket.create_connection(self._where) as way, contextlib.suppress(OSError):
                way.sendall(text)
        self._open = socket.create_connection(self._where)
        self._open.sendall(greeting + b"\1" + (1 << 20).to_bytes(8, "little"))


DEEDS = (
    Stranger.delete,
    Stranger.end_as_completed,
    Stranger.sign,
    Stranger.count,
    Stranger.send_pickles,
    Stranger.babble,
)


if __name__ == "__main__":
    name, number, folder, start = sys.argv[1:]
    stranger = Stranger(int(number), Path(folder), start, name)
    for deed in DEEDS:
        deed(stranger)
