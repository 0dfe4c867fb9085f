"""Writes the files of TensorFlow's Saver as TensorFlow does: the data, and an index that is a table of blocks."""

import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

TYPES = {"float32": 1, "float64": 2, "int64": 9, "float16": 19}
RESTART_EVERY, ENTRIES_A_BLOCK = 4, 7


def write(prefix: Path, tensors: Mapping[str, np.ndarray], dtypes: Mapping[str, int] | None = None) -> None:
    """Write the tensors; `dtypes` gives DT_… for those that numpy has no name for."""
    offset, entries = 0, [(b"", field(1, 1) + field(3, field(1, 1)))]  # the header: one shard, version 1
    with prefix.with_name(f"{prefix.name}.data-00000-of-00001").open("wb") as data:
        for name in sorted(tensors):
            array = np.ascontiguousarray(tensors[name])
            dtype = (dtypes or {}).get(name) or TYPES[array.dtype.name]
            shape = b"".join(field(2, field(1, size)) for size in array.shape)
            entry = field(1, dtype) + field(2, shape) + field(4, offset) + field(5, array.nbytes)
            entries.append((name.encode(), entry + varint(6 << 3 | 5) + b"\0\0\0\0"))  # a checksum nobody reads
            data.write(array.tobytes())
            offset += array.nbytes
    prefix.with_name(f"{prefix.name}.index").write_bytes(table(entries))


def table(entries: list[tuple[bytes, bytes]]) -> bytes:
    content, index = b"", []
    for first in range(0, len(entries), ENTRIES_A_BLOCK):
        part = entries[first : first + ENTRIES_A_BLOCK]
        packed = block(part)
        index.append((part[-1][0], varint(len(content)) + varint(len(packed))))
        content += packed + b"\0" + b"\0\0\0\0"
    footer = b""
    for packed in (block([]), block(index)):
        footer += varint(len(content)) + varint(len(packed))
        content += packed + b"\0" + b"\0\0\0\0"
    return content + footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


def block(entries: Iterable[tuple[bytes, bytes]]) -> bytes:
    content, restarts, before = b"", [], b""
    for number, (key, value) in enumerate(entries):
        shared = 0
        if number % RESTART_EVERY == 0:
            restarts.append(len(content))
        else:
            shared = next((at for at, (a, b) in enumerate(zip(before, key, strict=False)) if a != b), len(before))
        content += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    restarts = restarts or [0]
    return content + struct.pack(f"<{len(restarts)}I", *restarts) + struct.pack("<I", len(restarts))


def field(number: int, value: int | bytes) -> bytes:
    """A field of a protobuf message; as in its third version, what is 0 is left out."""
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    return varint(number << 3) + varint(value) if value else b""


def varint(value: int) -> bytes:
    content = b""
    while value >= 0x80:
        content += bytes([value & 0x7F | 0x80])
        value >>= 7
    return content + bytes([value])
