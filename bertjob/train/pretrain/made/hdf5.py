"""NVIDIA's shards in HDF5, which hold padded samples with masks of their own.

Six keys, those that NVIDIA's create_pretraining_data writes: input_ids, input_mask, segment_ids ``[N, L]``;
masked_lm_positions, masked_lm_ids ``[N, P]``, 0 where a sample has fewer; next_sentence_labels ``[N]``. The seventh of
the TFRecords that the same script makes for TensorFlow, masked_lm_weights ``[N, P]``, is read where a file has it: 0
where there is no mask. The masks are taken off, so that a sample has others each time it is seen.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from bertjob.errors import DataError
from bertjob.train.pretrain.samples import Samples, bounds, joined
from bertjob.train.ragged import Int64

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
    """The samples of several files, one after another; see stream.Store. The last two files stay in memory."""

    def __init__(self, files: Sequence[Path]) -> None:
        """Look into all of `files`.

        Raises:
            DataError: h5py is not installed here, or a file is no such shard.
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
        """Samples by their numbers, without padding and without masks."""
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
        return len(file["input_ids"])


def _read(path: Path) -> Samples:
    with _opened(path) as file:
        rows = {key: file[key][:].astype(np.int64) for key in (*KEYS, *({WEIGHTS} & file.keys()))}
    ids, tokens = rows["input_ids"], rows["input_mask"] != 0
    places = rows["masked_lm_positions"]
    hidden = rows.get(WEIGHTS, places) > 0  # position 0 is [CLS], which is never masked
    row = np.broadcast_to(np.arange(len(ids))[:, None], places.shape)
    ids[row[hidden], places[hidden]] = rows["masked_lm_ids"][hidden]
    lengths = tokens.sum(axis=1)
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
