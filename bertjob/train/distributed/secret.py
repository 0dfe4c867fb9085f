"""The secret of one start, by which its ranks recognise each other.

The job script makes a file in the run directory that only its owner can read, and names it in BERTJOB_SECRET_FILE.
Rank 0 removes it once all ranks have read it, so that no later start can have the same one. Everything is signed with
keys that are derived from it, a different one for each use: what is signed for one use proves nothing in another.
"""

import contextlib
import hmac
import os
import secrets
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bertjob.errors import WorldError
from bertjob.rundir.world import SECRET_FILE, World

SIGNATURE_BYTES = 32
_BYTES_AT_LEAST = 16
_BYTES_AT_MOST = 4096
_LOOK_AGAIN_SECONDS = 0.2
_FILE_SECONDS = 10.0
"""How long a file system may take to show the file to another node."""
_BY_HAND = (
    f"by hand: export {SECRET_FILE}=$(mktemp RUN/.secret-XXXXXXXX) && head -c 32 /dev/urandom > ${SECRET_FILE},"
    " before each start"
)


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
    """The secret of one start."""

    _bytes: bytes = field(repr=False)

    def key(self, use: str) -> Key:
        """The key for one use, e.g. ``store``."""
        return Key(hmac.digest(self._bytes, use.encode(), "sha256"))


def new_secret() -> Secret:
    """A secret that nobody else has."""
    return Secret(secrets.token_bytes(SIGNATURE_BYTES))


def read_secret(world: World, env: Mapping[str, str], seconds: float) -> Secret:
    """The secret that the ranks of this start share.

    Args:
        world: this rank's place among them.
        env: the environment; it names the file.
        seconds: how long ranks wait for each other.

    Raises:
        WorldError: no file is named, or it cannot be read, or others can read it; says how to make one.
    """
    named = env.get(SECRET_FILE, "")
    if not named:
        raise WorldError(
            f"{SECRET_FILE} is not set: rank {world.rank} of {world.size} has no secret by which the others recognise"
            f" it; the job script makes one; {_BY_HAND}"
        )
    path, deadline = Path(named), time.monotonic() + min(seconds, _FILE_SECONDS)
    while True:
        try:
            content = _content(path)
            break
        except OSError as error:
            if not isinstance(error, FileNotFoundError) or time.monotonic() >= deadline:
                raise WorldError(
                    f"{SECRET_FILE}={path}: {error.strerror}; the job script makes one for each start; {_BY_HAND}"
                ) from None
        time.sleep(_LOOK_AGAIN_SECONDS)
        with contextlib.suppress(OSError):
            list(path.parent.iterdir())  # which makes NFS look again
    if len(content) < _BYTES_AT_LEAST:
        raise WorldError(f"{SECRET_FILE}={path}: {len(content)} bytes, expected at least {_BYTES_AT_LEAST}; {_BY_HAND}")
    return Secret(content)


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise WorldError(
                f"{SECRET_FILE}={path}: others may read it (mode {mode:04o}), so it is no secret; {_BY_HAND}"
            )
        return file.read(_BYTES_AT_MOST)


def remove_secret(env: Mapping[str, str]) -> None:
    """Remove the file; called by rank 0 once all ranks have read it."""
    with contextlib.suppress(OSError):
        if named := env.get(SECRET_FILE, ""):
            Path(named).unlink()
