"""Data sets that Hugging Face's `datasets` has saved on disk, read by pyarrow alone.

A column `input_ids` holds ready samples with their marks, `token_type_ids` their segments where there is such a column;
masks stand there neither. A data set with a column `text` is a corpus: `bertjob data prepare` takes its folder.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from bertjob.errors import DataError
from bertjob.train.arrow import open_arrow
from bertjob.train.pretrain.samples import Samples, bounds
from bertjob.train.ragged import Int64


class ArrowStore:
    """The samples of one saved data set; see stream.Store."""

    parts = None

    def __init__(self, folder: Path) -> None:
        """Map the files of `folder`.

        Raises:
            DataError: pyarrow is not installed here, or there is no such data set, or it has no column input_ids.
        """
        batches = [batch for file in dataset_files(folder) for batch in open_arrow(file)]
        self._batches = [batch for batch in batches if batch.num_rows]
        if not self._batches:
            raise DataError(f"{folder}: holds no samples")
        names = self._batches[0].schema.names
        if "input_ids" not in names:
            raise DataError(f"{folder}: has no column input_ids but {', '.join(names)}")
        self._segments = "token_type_ids" in names
        self._bases = np.cumsum([0, *(batch.num_rows for batch in self._batches)])

    def __len__(self) -> int:
        return int(self._bases[-1])

    def read(self, numbers: Int64) -> Samples:
        """Samples by their numbers."""
        rows = [self._row("input_ids", number) for number in numbers.tolist()]
        lengths = np.array([len(row) for row in rows], np.int64)
        after = [self._row("token_type_ids", number).sum() if self._segments else 0 for number in numbers.tolist()]
        ids = np.concatenate([np.zeros(0, np.int32), *rows]).astype(np.int32)
        return Samples(ids, bounds(lengths), lengths - np.array(after, np.int64), np.full(len(rows), -1))

    def _row(self, column: str, number: int) -> Any:
        batch = int(np.searchsorted(self._bases, number, side="right")) - 1
        return self._batches[batch].column(column)[number - int(self._bases[batch])].values.to_numpy()


def dataset_files(folder: Path) -> list[Path]:
    """The Arrow files of a saved data set, in order.

    Raises:
        DataError: there is none.
    """
    try:
        state = json.loads((folder / "state.json").read_bytes())
        return [folder / file["filename"] for file in state["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{folder}: no data set that `datasets` has saved: there is no state.json") from None
