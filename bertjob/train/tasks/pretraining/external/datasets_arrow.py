"""Data sets that Hugging Face's `datasets` has saved on disk, read by pyarrow alone.

A column `input_ids` holds ready samples with their marks, without masks. Where there are such columns,
`token_type_ids` holds their segments, `attention_mask` tells their tokens from padding, which is cut off, and
`next_sentence_label` is 1 where the second segment is random, as transformers' BertForPreTraining has it (also
`next_sentence_labels`, as NVIDIA calls it).

A data set with a column `text` is a corpus: `bertjob data prepare` takes its folder.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np

from bertjob.errors import DataError
from bertjob.train.data.arrow import dataset_files, open_arrow
from bertjob.train.data.batch import Int64
from bertjob.train.tasks.pretraining.samples import Samples, bounds

_NEXT: Final = ("next_sentence_label", "next_sentence_labels")


class ArrowStore:
    """The samples of one saved data set; see store.Store."""

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
        self._segments, self._mask = ("token_type_ids" in names), ("attention_mask" in names)
        self._next = next((name for name in _NEXT if name in names), None)
        self._bases = np.cumsum([0, *(batch.num_rows for batch in self._batches)])

    def __len__(self) -> int:
        return int(self._bases[-1])

    def read(self, numbers: Int64) -> Samples:
        """Samples by their numbers, without padding."""
        rows = self._tokens("input_ids", numbers)
        lengths = np.array([len(row) for row in rows], np.int64)
        after = [row.sum() for row in self._tokens("token_type_ids", numbers)] if self._segments else 0
        ids = np.concatenate([np.zeros(0, np.int32), *rows]).astype(np.int32)
        labels = [-1] * len(rows)
        if self._next is not None:
            labels = [int(np.ravel(self._cell(self._next, number).as_py())[0]) for number in numbers.tolist()]
        return Samples(ids, bounds(lengths), lengths - np.array(after, np.int64), np.array(labels, np.int64))

    def _tokens(self, column: str, numbers: Int64) -> list[Any]:
        """A column's values at tokens that are no padding, for each sample."""
        rows = [self._values(column, number) for number in numbers.tolist()]
        if not self._mask:
            return rows
        masks = [self._values("attention_mask", number) != 0 for number in numbers.tolist()]
        return [row[mask] for row, mask in zip(rows, masks, strict=True)]

    def _values(self, column: str, number: int) -> Any:
        return self._cell(column, number).values.to_numpy(zero_copy_only=False)

    def _cell(self, column: str, number: int) -> Any:
        batch = int(np.searchsorted(self._bases, number, side="right")) - 1
        return self._batches[batch].column(column)[number - int(self._bases[batch])]
