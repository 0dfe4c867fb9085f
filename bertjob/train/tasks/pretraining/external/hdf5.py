"""NVIDIA's shards in HDF5, which hold padded samples with masks of their own.

Six keys, those that NVIDIA's create_pretraining_data writes: input_ids, input_mask, segment_ids ``[N, L]``;
masked_lm_positions, masked_lm_ids ``[N, P]``, 0 where a sample has fewer; next_sentence_labels ``[N]``. The seventh of
the TFRecords that the same script makes for TensorFlow, masked_lm_weights ``[N, P]``, is read where a file has it: 0
where there is no mask. The masks are taken off, so that a sample has others each time it is seen.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from bertjob.errors import DataError
from bertjob.text import first_line, reason
from bertjob.train.data.batch import Int64
from bertjob.train.tasks.pretraining.samples import Samples, bounds, joined

KEYS: Final = (
    "input_ids",
    "input_mask",
    "segment_ids",
    "masked_lm_positions",
    "masked_lm_ids",
    "next_sentence_labels",
)
WEIGHTS: Final = "masked_lm_weights"
_ROWS: Final = 4096
_HDF5_ERRORS = OSError, LookupError, RuntimeError, ValueError, TypeError, ArithmeticError, MemoryError, AttributeError
"""What h5py may raise of a file that is damaged, depending on where."""


class Hdf5Store:
    """The samples of several files, one after another; see store.Store. The last two files stay in memory."""

    def __init__(self, files: Sequence[Path]) -> None:
        """Look into all of `files`.

        Raises:
            DataError: h5py is not installed here, or a file is no such shard, or its arrays do not fit together.
        """
        self._files = tuple(files)
        sizes = [_size(path) for path in files]
        self._bytes = {path: _bytes(path) for path in files}
        self.parts = np.cumsum([0, *sizes])
        if not len(self):
            raise DataError(f"{', '.join(map(str, files))}: no samples there")
        self._of_file = lru_cache(maxsize=2)(self._load)

    def __len__(self) -> int:
        return int(self.parts[-1])

    def read(self, numbers: Int64) -> Samples:
        """Samples by their numbers, without padding and without masks.

        Raises:
            DataError: a mask stands where a sample has no token, or a file is damaged, or not what it was at first.
        """
        owner = np.searchsorted(self.parts, numbers, side="right") - 1
        found = [(file, np.flatnonzero(owner == file)) for file in np.unique(owner).tolist()]
        parts = [self._of_file(self._files[file]).take(numbers[at] - self.parts[file]) for file, at in found]
        return joined(parts).take(np.argsort(np.concatenate([at for _, at in found])))

    def _load(self, path: Path) -> Samples:
        unreadable: DataError | None = None
        try:
            samples = _read(path)
        except DataError as error:
            unreadable = error
        now, before = _bytes(path), self._bytes[path]
        if (
            now != before
        ):  # HDF5 reads zeros behind the end of a file that was cut after it was opened (1.14, H5FDsec2.c)
            how = "cut" if now < before else "changed"
            raise DataError(
                f"{path}: was {how} from {before} to {now} bytes while it was in use; make it again"
            ) from None
        if unreadable is not None:
            raise unreadable
        return samples


def read_through(path: Path) -> None:
    """Read all that a shard holds, a part at a time: HDF5 compares compressed chunks with their checksums.

    Raises:
        DataError: it is damaged; says which array cannot be read.
    """
    before = _bytes(path)
    with _opened(path) as file, _reading(path):
        for key in sorted({*KEYS, WEIGHTS} & file.keys()):
            with _reading(path, key):
                array = file[key]
                for first in range(0, len(array), _ROWS):
                    array[first : first + _ROWS]
    if (now := _bytes(path)) < before:
        raise DataError(f"{path}: was cut from {before} to {now} bytes while it was in use; make it again")


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {reason(error)}") from None


def _size(path: Path) -> int:
    with _opened(path) as file, _reading(path):
        missing = [key for key in KEYS if key not in file]
        if missing:
            raise DataError(
                f"{path}: has no {', '.join(missing)}; NVIDIA's shards have {', '.join(KEYS)}, and may have {WEIGHTS}"
            )
        return _count(path, {key: file[key] for key in (*KEYS, *({WEIGHTS} & file.keys()))})


def _count(path: Path, rows: Mapping[str, Any]) -> int:
    """N, after a look at the kinds and shapes of all arrays."""
    for key, array in rows.items():
        kind = getattr(array, "dtype", np.dtype(np.void))  # a group has none
        if kind.kind not in "iubf":
            raise DataError(f"{path}: {key} holds no numbers")
    for key in ("input_ids", "masked_lm_positions"):
        if rows[key].ndim != 2:
            raise DataError(f"{path}: {key} has the shape {rows[key].shape}, and a row a sample is wanted")
    count = len(rows["input_ids"])
    samples, masks = rows["input_ids"].shape, (count, rows["masked_lm_positions"].shape[1])
    for key, array in rows.items():
        wanted = {"next_sentence_labels": (count,)}.get(key, masks if key.startswith("masked_lm") else samples)
        if array.shape != wanted and (key != "next_sentence_labels" or array.shape != (count, 1)):
            raise DataError(f"{path}: {key} has the shape {array.shape} instead of {wanted}")
    return count


def _read(path: Path) -> Samples:
    rows = {}
    with _opened(path) as file, _reading(path):
        for key in (*KEYS, *({WEIGHTS} & file.keys())):
            with _reading(path, key):
                rows[key] = file[key][:].astype(np.int64)
    ids, tokens = rows["input_ids"], rows["input_mask"] != 0
    places = rows["masked_lm_positions"]
    hidden = rows.get(WEIGHTS, places) > 0  # position 0 is [CLS], which is never masked
    row = np.broadcast_to(np.arange(len(ids))[:, None], places.shape)
    lengths = tokens.sum(axis=1)
    beyond = hidden & (places >= lengths[:, None])
    if beyond.any():
        sample = int(beyond.any(axis=1).argmax())
        place, length = places[beyond][0], lengths[sample]
        raise DataError(f"{path}: sample {sample} has a mask at {place}, and {length} tokens")
    ids[row[hidden], places[hidden]] = rows["masked_lm_ids"][hidden]
    second = lengths - (rows["segment_ids"] * tokens).sum(axis=1)
    return Samples(ids[tokens].astype(np.int32), bounds(lengths), second, rows["next_sentence_labels"].reshape(-1))


def _opened(path: Path) -> Any:
    try:
        import h5py
    except ModuleNotFoundError:
        raise DataError(f"{path}: HDF5 needs h5py here: pip install 'bertjob[hdf5]'") from None
    try:
        return h5py.File(path, "r")
    except _HDF5_ERRORS as error:
        raise DataError(f"{path}: no HDF5 file that can be read ({first_line(error)})") from None


@contextlib.contextmanager
def _reading(path: Path, key: str = "") -> Iterator[None]:
    """Name the shard, and what of it was read, in an error of HDF5."""
    try:
        yield
    except _HDF5_ERRORS as error:
        of = f"{key} " if key else ""
        raise DataError(f"{path}: damaged: {of}cannot be read ({first_line(error)}); make it again") from None
