# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The GGUF format of llama.cpp: tensors in dtypes and in block formats.

Source: `docs/gguf.md` of ggml, versions 2 and 3. Numbers are little-endian; the first size of a
tensor is that of its innermost dim.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import IO, Any

from .stored import FileVersion, StoredTensor, damaged

MAGIC = b"GGUF"
# Types of tensors that are dtypes: the number in the file, the name in the dtype table.
_DTYPES = {0: "f32", 1: "f16", 24: "i8", 25: "i16", 26: "i32", 27: "i64", 28: "f64", 30: "bf16"}
# Block formats: number, name, elements and bytes of a block.
_BLOCKS = {
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 36),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
}
_SIZES = {"f32": 4, "f16": 2, "i8": 1, "i16": 2, "i32": 4, "i64": 8, "f64": 8, "bf16": 2}
# Types of metadata values, as `struct` writes them; the others are strings and arrays.
_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_STRING, _ARRAY = 8, 9
_LONGEST_STRING = 2**26
_MOST_DIMS = 8


def read_gguf(file: IO[bytes], path: Path) -> list[StoredTensor]:
    """Return the tensors of a file; those in a block format have no dtype.

    Raises:
        ParameterError: it is damaged.
    """
    version = FileVersion.of(path, file)
    reader = _Reader(file)
    try:
        file.seek(len(MAGIC))
        number = reader.number("I")
        if number not in (2, 3):
            raise ValueError(f"version {number}")
        count, pairs = reader.number("Q"), reader.number("Q")
        metadata = {reader.string(): reader.value(reader.number("I")) for _ in range(pairs)}
        entries = [_entry(reader) for _ in range(count)]
        alignment = int(metadata.get("general.alignment") or 32)
        start = -(-file.tell() // alignment) * alignment
        return [_tensor(*entry, start, version) for entry in entries]
    except (struct.error, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise damaged(path, f"its header cannot be understood: {error!r}"[:200]) from error


def _entry(reader: _Reader) -> tuple[str, tuple[int, ...], int, int]:
    """Return key, shape, type and offset of the next tensor."""
    key = reader.string()
    rank = reader.number("I")
    if rank > _MOST_DIMS:
        raise ValueError(f"{key!r} has {rank} dims")
    sizes = [reader.number("Q") for _ in range(rank)]
    return key, tuple(reversed(sizes)), reader.number("I"), reader.number("Q")


def _tensor(
    key: str, shape: tuple[int, ...], kind: int, offset: int, start: int, version: FileVersion
) -> StoredTensor:
    count = math.prod(shape)
    dtype = _DTYPES.get(kind)
    if dtype is not None:
        name, nbytes = dtype, count * _SIZES[dtype]
    elif kind in _BLOCKS:
        name, elements, size = _BLOCKS[kind]
        nbytes = -(-count // elements) * size
    else:
        # A block format that we do not know the size of: nothing can need it.
        name, nbytes = f"type {kind}", 0
    return StoredTensor(key, dtype, shape, nbytes, version, start + offset, format=name)


class _Reader:
    """Reads the values of a header, one after the other."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def number(self, code: str) -> Any:
        kind = struct.Struct(f"<{code}")
        return kind.unpack(self._file.read(kind.size))[0]

    def string(self) -> str:
        length = self.number("Q")
        if length > _LONGEST_STRING:
            raise ValueError(f"a string of {length} bytes")
        text = self._file.read(length)
        if len(text) != length:
            raise ValueError("it ends in a string")
        return text.decode("utf-8", "replace")

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.string()
        if kind != _ARRAY:
            return self.number(_SCALARS[kind])
        item, count = self.number("I"), self.number("Q")
        for _ in range(count):
            self.value(item)
        return None
