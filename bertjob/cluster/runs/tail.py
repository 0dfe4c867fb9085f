"""The text that is added to a file, which may not exist yet, be cut short or be replaced."""

import codecs
import os
from pathlib import Path


class Tail:
    """Reads on from where it stopped. The file is opened anew each time: that is when NFS looks for what is new."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        """Begin at byte `offset`."""
        self.path = path
        self._offset = offset
        self._inode: int | None = None
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode

    def read(self) -> str:
        """What came since the last time, maybe nothing; a file that was replaced or cut is read from its start."""
        try:
            with self.path.open("rb") as file:
                status = os.fstat(file.fileno())
                if status.st_size < self._offset or self._inode not in (None, status.st_ino):
                    self._offset = 0
                self._inode = status.st_ino
                file.seek(self._offset)
                added = file.read()
        except FileNotFoundError:
            return ""
        self._offset += len(added)
        return self._decode(added)
