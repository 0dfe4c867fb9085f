"""The numpy folders of DeepSpeed's bing_bert examples: pairs of word pieces as text, without marks.

data.npy               uint8, the pieces' UTF-8 bytes, one sample after another
instance_offsets.npy   [N + 1], where each sample begins in the data
tokens_split.npy       [N], pieces of the first segment
is_next.npy            [N], 1 where the second segment is random (so the examples use it, whatever its name)
instance_token_offsets.npy, token_offsets.npy
                       where pieces part within a sample; without these two files a byte 0x1f does it
"""

from pathlib import Path
from typing import Any, Final

import numpy as np

from bertjob.errors import DataError
from bertjob.text import reason
from bertjob.train.data.batch import Int64
from bertjob.train.data.mapped import map_array
from bertjob.train.data.special_tokens import BERT
from bertjob.train.tasks.pretraining.samples import Marks, Samples, bounds

FILES: Final = ("data", "instance_offsets", "tokens_split", "is_next")
_SEPARATOR: Final = b"\x1f"


class BingStore:
    """The samples of one folder; see store.Store."""

    parts = None

    def __init__(self, folder: Path, vocabulary: dict[str, int], marks: Marks) -> None:
        """Map the arrays of `folder`.

        Args:
            folder: with data.npy and the others.
            vocabulary: ids of the pieces; [UNK] stands for those that it lacks.
            marks: put around the segments.

        Raises:
            DataError: the vocabulary is not of WordPieces, or a file is missing or no array of its kind
                and length.
        """
        if BERT.unknown not in vocabulary:
            raise DataError(
                f"{folder}: its samples are WordPieces, and the vocabulary is of another kind: no {BERT.unknown}"
            )
        self._folder, self._vocabulary, self._marks = folder, vocabulary, marks
        self._unknown = vocabulary[BERT.unknown]
        self._data, self._offsets, self._split, self._random = (_array(folder, name) for name in FILES)
        self._parted = (folder / "token_offsets.npy").is_file()
        if self._parted:
            self._first_cut, self._cuts = (_array(folder, name) for name in ("instance_token_offsets", "token_offsets"))
        self._check(folder)
        if not len(self):
            raise DataError(f"{folder}: holds no samples")

    def __len__(self) -> int:
        return len(self._random)

    def read(self, numbers: Int64) -> Samples:
        """Samples by their numbers, with marks.

        Raises:
            DataError: one is not within the data, or not UTF-8, or is split behind its end.
        """
        rows, second = [], []
        for number in numbers.tolist():
            ids = [self._vocabulary.get(piece, self._unknown) for piece in self._pieces(number)]
            split = int(self._split[number])
            if not 0 <= split <= len(ids):
                raise DataError(
                    f"{self._folder}: sample {number}: tokens_split is {split}, and it has {len(ids)} pieces"
                )
            rows.append([self._marks.cls, *ids[:split], self._marks.sep, *ids[split:], self._marks.sep])
            second.append(split + 2)
        lengths = np.array([len(row) for row in rows], np.int64)
        ids_of_all = np.array([token for row in rows for token in row], np.int32)
        return Samples(ids_of_all, bounds(lengths), np.array(second, np.int64), self._random[numbers].astype(np.int64))

    def _pieces(self, number: int) -> list[str]:
        begin, end = int(self._offsets[number]), int(self._offsets[number + 1])
        if not 0 <= begin <= end <= len(self._data):
            raise DataError(f"{self._folder}: sample {number} is not within data.npy: from {begin} to {end}")
        try:
            return [piece.decode() for piece in self._cut(number, self._data[begin:end].tobytes())]
        except UnicodeDecodeError:
            raise DataError(f"{self._folder}: sample {number} has a piece that is not UTF-8") from None

    def _cut(self, number: int, text: bytes) -> list[bytes]:
        if not self._parted:
            return text.split(_SEPARATOR)
        inner = self._cuts[self._first_cut[number] : self._first_cut[number + 1]].tolist()
        return [text[begin:end] for begin, end in zip([0, *inner], [*inner, len(text)], strict=True)]

    def _check(self, folder: Path) -> None:
        """Refuse arrays that are not as long as the samples are many, or of no use as what they are for."""
        count = len(self)
        arrays = {"instance_offsets": (self._offsets, count + 1), "tokens_split": (self._split, count)}
        if self._parted:
            arrays["instance_token_offsets"] = self._first_cut, count + 1
        for name, (array, length) in arrays.items():
            if array.shape != (length,) or array.dtype.kind not in "iu":
                told = f"{array.dtype} {list(array.shape)}"
                raise DataError(f"{folder / name}.npy: is {told} instead of integers [{length}]: is_next has {count}")
        if self._data.ndim != 1 or self._data.dtype != np.uint8:
            raise DataError(
                f"{folder / 'data.npy'}: is {self._data.dtype} {list(self._data.shape)} instead of uint8 [N]"
            )
        if self._random.ndim != 1 or self._random.dtype.kind not in "iubf":
            raise DataError(f"{folder / 'is_next.npy'}: holds no number a sample")


def _array(folder: Path, name: str) -> Any:
    file = folder / f"{name}.npy"
    try:
        return map_array(file)
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: {reason(error)}") from None
