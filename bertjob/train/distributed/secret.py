"""The secret of one start, by which its ranks recognise each other.

The job script makes a file in the run directory that only its owner can read, and names it in BERTJOB_SECRET_FILE.
Where something else starts the ranks, rank 0 makes one before it listens, and the others read it once they have reached
rank 0, so that nobody reads that of an earlier start. Rank 0 removes it once all ranks have read it. Everything is
signed with keys that are derived from it, a different one for each use: what is signed for one use proves nothing in
another.
"""

import contextlib
import hmac
import os
import secrets
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path

from bertjob.errors import WorldError
from bertjob.rundir.world import SECRET_FILE
from bertjob.text import reason

SIGNATURE_BYTES = 32
_BYTES_AT_LEAST = 16
_BYTES_AT_MOST = 4096
_LOOK_AGAIN_SECONDS = 0.2
_FILE_SECONDS = 10.0
"""How long a file system may take to show the file to another node."""
_EXPECTED = f"expected a file of at least {_BYTES_AT_LEAST} random bytes with mode 0600, a new one for each start"


@dataclass(frozen=True)
class Key:
    """What one kind of message is signed with."""

    _bytes: bytes = field(repr=False)

    def sign(self, *parts: bytes) -> bytes:
        """HMAC-SHA256 (RFC 2104) of the parts and their lengths: `SIGNATURE_BYTES` bytes."""
        lengths = b"".join(len(part).to_bytes(8, "big") for part in parts)
        return hmac.digest(self._bytes, lengths + b"".join(parts), "sha256")

    def signed(self, signature: bytes, *parts: bytes) -> bool:
        """Whether `signature` is that of the parts."""
        return hmac.compare_digest(signature, self.sign(*parts))


@dataclass(frozen=True)
class Secret:
    """The secret of one start.

    Attributes:
        path: its file, if it has one.
    """

    _bytes: bytes = field(repr=False)
    path: Path | None = None

    def key(self, use: str) -> Key:
        """The key for one use, e.g. ``store``."""
        return Key(hmac.digest(self._bytes, use.encode(), "sha256"))

    def remove(self) -> None:
        """Remove the file; called by rank 0 once all ranks have read it."""
        if self.path is not None:
            with contextlib.suppress(OSError):
                self.path.unlink()


def new_secret() -> Secret:
    """A secret that nobody else has, without a file."""
    return Secret(secrets.token_bytes(SIGNATURE_BYTES))


def make_secret(path: Path) -> Secret:
    """Make the file of a start whose launcher has made none; called by rank 0 before it listens.

    Raises:
        WorldError: it cannot be written.
    """
    made = new_secret()
    try:
        path.unlink(missing_ok=True)  # an earlier start's, which never met
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(made._bytes)
    except OSError as error:
        raise WorldError(f"{path}: {reason(error)}; by this file the ranks recognise each other") from None
    return Secret(made._bytes, path)


def read_secret(path: Path, seconds: float) -> Secret:
    """The secret that the ranks of this start share.

    Args:
        path: its file.
        seconds: how long ranks wait for each other.

    Raises:
        WorldError: the file cannot be read, or others can read it; says what is expected.
    """
    deadline = time.monotonic() + min(seconds, _FILE_SECONDS)
    while True:
        try:
            content = _content(path)
            break
        except OSError as error:
            if not isinstance(error, FileNotFoundError) or time.monotonic() >= deadline:
                raise WorldError(f"{SECRET_FILE}={path}: {reason(error)}; {_EXPECTED}") from None
        time.sleep(_LOOK_AGAIN_SECONDS)
        with contextlib.suppress(OSError):
            list(path.parent.iterdir())  # which makes NFS look again
    if len(content) < _BYTES_AT_LEAST:
        raise WorldError(f"{SECRET_FILE}={path}: {len(content)} bytes; {_EXPECTED}")
    return Secret(content, path)


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise WorldError(f"{SECRET_FILE}={path}: others may read it (mode {mode:04o}); {_EXPECTED}")
        return file.read(_BYTES_AT_MOST)
