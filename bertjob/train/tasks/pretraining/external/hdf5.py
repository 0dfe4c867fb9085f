"""NVIDIA's shards in HDF5, which hold padded samples with masks of their own.

Six keys, those that NVIDIA's create_pretraining_data writes: input_ids, input_mask, segment_ids ``[N, L]``;
masked_lm_positions, masked_lm_ids ``[N, P]``, 0 where a sample has fewer; next_sentence_labels ``[N]``. The seventh of
the TFRecords that the same script makes for TensorFlow, masked_lm_weights ``[N, P]``, is read where a file has it: 0
where there is no mask. The masks are taken off, so that a sample has others each time it is seen.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from bertjob.errors import DataError
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


class Hdf5Store:
    """The samples of several files, one after another; see store.Store. The last two files stay in memory."""

    def __init__(self, files: Sequence[Path]) -> None:
        """Look into all of `files`.

        Raises:
            DataError: h5py is not installed here, or a file is no such shard, or its arrays do not fit together.
        """
        self._files = tuple(files)
        sizes = [_size(path) for path in files]
        self.parts = np.cumsum([0, *sizes])
        if not len(self):
            raise DataError(f"{', '.join(map(str, files))}: no samples there")
        self._of_file = lru_cache(maxsize=2)(_read)

    def __len__(self) -> int:
        return int(self.parts[-1])

    def read(self, numbers: Int64) -> Samples:
        """Samples by their numbers, without padding and without masks.

        Raises:
            DataError: a mask stands where a sample has no token.
        """
        owner = np.searchsorted(self.parts, numbers, side="right") - 1
        found = [(file, np.flatnonzero(owner == file)) for file in np.unique(owner).tolist()]
        parts = [self._of_file(self._files[file]).take(numbers[at] - self.parts[file]) for file, at in found]
        return joined(parts).take(np.argsort(np.concatenate([at for _, at in found])))


def _size(path: Path) -> int:
    with _opened(path) as file:
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
    with _opened(path) as file:
        rows = {key: file[key][:].astype(np.int64) for key in (*KEYS, *({WEIGHTS} & file.keys()))}
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
    except OSError as error:
        raise DataError(f"{path}: no HDF5 file that can be read ({error})") from None
