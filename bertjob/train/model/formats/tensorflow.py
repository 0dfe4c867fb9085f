"""Google's BERT checkpoints of TensorFlow (the "tensor bundle" of Saver V2), without TensorFlow.

transformers 5 reads them no more, and TensorFlow would be half a gigabyte for two small files' worth of format:

    PREFIX.index                  a sorted table of strings (LevelDB's SSTable): tensor name -> BundleEntryProto
    PREFIX.data-00000-of-00001    the tensors as they are in memory, one after another

A table ends with a footer of 48 bytes: handles (offset and size, as varints) of the metaindex and of the index block,
and a magic number. A block holds entries ``shared, unshared, length`` (varints), the rest of the key, the value; then
its restart points, four bytes each, and their number. Five bytes follow it: how it is compressed, and a checksum. The
index block's values are the handles of the data blocks. Formats: tensorflow/core/protobuf/tensor_bundle.proto and
tensorflow/core/lib/io/table_format.txt.

A name is a path of scopes: ``bert/encoder/layer_0/attention/self/query/kernel``. Kernels are transposed, for torch
multiplies from the other side.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from bertjob.config.job import Model
from bertjob.errors import DataError
from bertjob.formats.pretrained import INDEX, TF_CONFIG, Pretrained
from bertjob.text import reason
from bertjob.train.model.formats import Found, Weights, hugging_face

_FOOTER: Final = 48
_MAGIC: Final = 0xDB4775248B80FB57
_HALF, _FLOAT, _DOUBLE, _BFLOAT16 = 19, 1, 2, 14
_TYPES: Final[Mapping[int, np.dtype[Any]]] = {
    _FLOAT: np.dtype("<f4"),
    _DOUBLE: np.dtype("<f8"),
    _HALF: np.dtype("<f2"),
    _BFLOAT16: np.dtype("<u2"),
}
"""DT_… of types.proto, floating-point ones; others hold no weights."""
_OBJECT_GRAPH: Final = "_CHECKPOINTABLE_OBJECT_GRAPH"
"""A key that only the checkpoints of TensorFlow 2's objects have."""
_WORDS: Final = "bert/embeddings/word_embeddings"
_OPTIMIZER: Final = re.compile(r"(^|/)(adam|lamb)_[mv]$|Optimizer|^(global_step|loss_scale|good_steps|bad_steps)")
"""Names of what an optimizer keeps."""
_RENAMED: Final = (
    (re.compile(r"/layer_(\d+)/"), r"/layer/\1/"),
    (re.compile(r"_embeddings$"), "_embeddings/weight"),
    (re.compile(r"^cls/squad/output_"), "qa_outputs/"),
    (re.compile(r"/output_bias$|/beta$"), "/bias"),
    (re.compile(r"/(kernel|gamma|output_weights)$"), "/weight"),
    (re.compile(r"^qa_outputs/weights$"), "qa_outputs/weight"),
)


class Entry(NamedTuple):
    """Where a tensor is.

    Attributes:
        dtype: DT_… of types.proto.
        shape: its dimensions.
        shard: number of the data file.
        offset: of its first byte.
        size: in bytes.
    """

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int


def read_index(prefix: Path) -> dict[str, Entry]:
    """The tensors of floating-point numbers in a checkpoint, by name.

    Args:
        prefix: what the names of its files begin with.

    Raises:
        DataError: the index cannot be read, or is none of Saver's.
    """
    file = Path(f"{prefix}{INDEX}")
    try:
        entries = {name.decode(): value for name, value in _table(file.read_bytes())}
        found = {name: _entry(value) for name, value in entries.items() if name}
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({reason(error)})") from None
    except (ValueError, IndexError) as error:
        raise DataError(f"{file}: no index of a TensorFlow checkpoint ({error})") from None
    if _OBJECT_GRAPH in found:
        raise DataError(f"{file}: of TensorFlow 2's objects; only checkpoints of tf.train.Saver have BERT's names")
    return {name: entry for name, entry in found.items() if entry.dtype in _TYPES}


def read_tensors(prefix: Path, entries: Mapping[str, Entry]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """The tensors one after another, float32.

    Raises:
        DataError: a data file is missing or too short; says which.
    """
    for name, entry in entries.items():
        file = _data_file(prefix, entry.shard)
        dtype, count = _TYPES[entry.dtype], int(np.prod(entry.shape, dtype=np.int64))
        try:
            numbers = np.fromfile(file, dtype, count, offset=entry.offset)
        except OSError as error:
            raise DataError(f"{file}: cannot be read ({reason(error)})") from None
        if len(numbers) < count or entry.size != count * dtype.itemsize:
            raise DataError(f"{file}: ends before {name}, or is another checkpoint's than {prefix}{INDEX}")
        if entry.dtype == _BFLOAT16:  # the upper half of a float32
            numbers = (numbers.astype(np.uint32) << 16).view(np.float32)
        yield name, numbers.astype(np.float32).reshape(entry.shape)


def _data_file(prefix: Path, shard: int) -> Path:
    beginning = f"{prefix.name}.data-{shard:05d}-of-"
    found = sorted(path for path in prefix.parent.iterdir() if path.name.startswith(beginning))
    if not found:
        raise DataError(f"{prefix.parent / beginning}…: no such file, which holds the tensors of {prefix.name}{INDEX}")
    return found[0]


def _table(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a table."""
    footer = content[-_FOOTER:]
    if len(footer) < _FOOTER or int.from_bytes(footer[-8:], "little") != _MAGIC:
        raise ValueError("it does not end like one")
    _, place = _handle(footer, 0)
    index, _ = _handle(footer, place)
    for _, value in _block(content, *index):
        yield from _block(content, *_handle(value, 0)[0])


def _block(content: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of one block."""
    if content[offset + size] != 0:
        raise ValueError("its blocks are compressed")
    block = content[offset : offset + size]
    restarts = int.from_bytes(block[-4:], "little")
    place, end, key = 0, size - 4 - 4 * restarts, b""
    while place < end:
        shared, place = _varint(block, place)
        unshared, place = _varint(block, place)
        length, place = _varint(block, place)
        key = key[:shared] + block[place : place + unshared]
        place += unshared
        yield key, block[place : place + length]
        place += length


def _handle(content: bytes, place: int) -> tuple[tuple[int, int], int]:
    """Offset and size of a block, and where the next thing begins."""
    offset, place = _varint(content, place)
    size, place = _varint(content, place)
    return (offset, size), place


def _entry(message: bytes) -> Entry:
    """A BundleEntryProto: dtype = 1, shape = 2, shard_id = 3, offset = 4, size = 5."""
    fields = dict(_fields(message))
    shape = tuple(
        int(dict(_fields(dimension)).get(1, 0)) for number, dimension in _fields(fields.get(2, b"")) if number == 2
    )
    dtype, shard, offset, size = (int(fields.get(number, 0)) for number in (1, 3, 4, 5))
    return Entry(dtype, shape, shard, offset, size)


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Numbers and values of a protobuf message's fields: a whole number, or the bytes of what is longer."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, place = _varint(message, place)
            yield number, value
            continue
        if wire == 2:
            length, place = _varint(message, place)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError("an entry is no protobuf message")
        yield number, message[place : place + length]
        place += length


def _varint(content: bytes, place: int) -> tuple[int, int]:
    """A whole number of seven bits a byte, least first, and where the next thing begins."""
    value = shift = 0
    while True:
        byte = content[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7


def read(pretrained: Pretrained, model: Model, pad: int | None) -> Found:
    """The model; see formats.find."""
    config = hugging_face.read_config(pretrained.folder / TF_CONFIG)
    return Found(pretrained.weights, config, lambda: load(pretrained.weights))


def load(prefix: Path) -> Weights:
    """The weights of a checkpoint.

    Args:
        prefix: what the names of its files begin with.

    Raises:
        DataError: it cannot be read, or holds no BERT.
    """
    entries = {name: entry for name, entry in read_index(prefix).items() if not _OPTIMIZER.search(name)}
    if _WORDS not in entries:
        raise DataError(f"{prefix}: holds no {_WORDS}, so it is no BERT of Google's ({', '.join(sorted(entries)[:3])})")
    return {
        renamed(name): torch.from_numpy(array.T.copy() if name.endswith("/kernel") else array)
        for name, array in read_tensors(prefix, entries)
    }


def renamed(name: str) -> str:
    """TensorFlow's name of a weight as transformers has it."""
    for pattern, replacement in _RENAMED:
        name = pattern.sub(replacement, name)
    return name.replace("/", ".")
