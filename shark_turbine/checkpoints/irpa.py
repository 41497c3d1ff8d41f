# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""IREE's parameter archives (.irpa): a header, a table of entries, their names, and the bytes.

Source: `iree/schemas/parameter_archive.h` of IREE, version 0; checked against files that IREE wrote.
Numbers are little-endian. Archives may be chained: a header says where the next one begins.
"""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import IO, Any

import torch

from shark_turbine import dtypes

from .stored import FileVersion, StoredTensor, damaged

MAGIC = b"IRPA"
# Magic, version (major, minor), length of this header, place of the next, flags; then the number of
# entries, and offset and length of three segments: entries, names and metadata, bytes.
_HEADER = struct.Struct("<4sHHQQQQQQQQQQ")
# Length of the entry, type, flags, name, metadata (offset, length each), alignment.
_ENTRY = struct.Struct("<QIQQQQQQ")
_SPLAT, _DATA = 1, 2
_ENTRY_ALIGNMENT = 16
_MOST_ARCHIVES = 10_000
# What writers put before the JSON that describes a tensor: iree-turbine, and IREE's runtime.
PREFIX = "PYTORCH:"
_PREFIXES = (PREFIX, "TENSORv0:")


def tensor_metadata(tensor: torch.Tensor) -> str:
    """Return what an archive says about a tensor, as iree-turbine and IREE's runtime read it."""
    dtype = tensor.dtype
    described = {
        "type": "Tensor",
        "dtype": str(dtype).removeprefix("torch."),
        "shape": list(tensor.shape),
        "dtype_desc": {
            "class_name": "dtype",
            "is_complex": dtype.is_complex,
            "is_floating_point": dtype.is_floating_point,
            "is_signed": dtype.is_signed,
            "itemsize": dtype.itemsize,
        },
    }
    return PREFIX + json.dumps(described)


def parse_metadata(metadata: bytes) -> tuple[str | None, tuple[int, ...] | None]:
    """Return dtype (a name of the dtype table) and shape; None for what is not said."""
    text = metadata.decode("utf-8", "replace")
    prefix = next((prefix for prefix in _PREFIXES if text.startswith(prefix)), None)
    if prefix is None:
        return None, None
    try:
        described = json.loads(text.removeprefix(prefix))
        dtype = getattr(torch, described["dtype"])
        row = next((row for row in dtypes.TABLE if row.torch is dtype), None)
        return row and row.name, tuple(map(int, described["shape"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None, None


def read_irpa(file: IO[bytes], path: Path) -> list[StoredTensor]:
    """Return the tensors and blobs of a file.

    Raises:
        ParameterError: it is damaged.
    """
    version = FileVersion.of(path, file)
    tensors: list[StoredTensor] = []
    base = 0
    for _ in range(_MOST_ARCHIVES):
        try:
            found, following = _read_archive(file, base, version)
        except (struct.error, ValueError) as error:
            raise damaged(path, f"its header cannot be understood: {error}") from error
        tensors += found
        if not following:
            return tensors
        base += following
    raise damaged(path, f"more than {_MOST_ARCHIVES} archives in one file")


def _read_archive(
    file: IO[bytes], base: int, version: FileVersion
) -> tuple[list[StoredTensor], int]:
    file.seek(base)
    magic, major, _, _, following, _, count, *segments = _HEADER.unpack(file.read(_HEADER.size))
    if magic != MAGIC or major != 0:
        raise ValueError(f"{magic!r}, version {major}")
    entries, texts, storage = zip(segments[::2], segments[1::2], strict=True)
    table, names = (_segment(file, base, *place, version) for place in (entries, texts))
    tensors: list[StoredTensor] = []
    position = 0
    for _ in range(count):
        size, kind, _, *references, _ = _ENTRY.unpack_from(table, position)
        key, metadata = (
            names[offset : offset + length] for offset, length in (references[:2], references[2:])
        )
        dtype, shape = parse_metadata(metadata)
        common = {"key": key.decode(), "dtype": dtype, "shape": shape, "file": version}
        tail = position + _ENTRY.size
        if kind == _DATA:
            offset, length = struct.unpack_from("<QQ", table, tail)
            start = base + storage[0] + offset
            tensors.append(_checked(StoredTensor(nbytes=length, offset=start, **common)))
        elif kind == _SPLAT:
            length, pattern, width = struct.unpack_from("<Q16sB", table, tail)
            splat = StoredTensor(nbytes=length, offset=0, pattern=pattern[:width], **common)
            tensors.append(_checked(splat))
        position += -(-max(size, _ENTRY.size) // _ENTRY_ALIGNMENT) * _ENTRY_ALIGNMENT
    return tensors, following


def _segment(file: IO[bytes], base: int, offset: int, length: int, version: FileVersion) -> bytes:
    if base + offset + length > version.size:
        raise ValueError(f"it ends at {base + offset + length}, the file at {version.size}")
    file.seek(base + offset)
    return file.read(length)


def _checked(tensor: StoredTensor) -> StoredTensor:
    """Return a tensor whose length is that of its dtype and shape."""
    if tensor.dtype is not None:
        size = dtypes.from_name(tensor.dtype).size * math.prod(tensor.shape or ())
        if size != tensor.nbytes:
            raise ValueError(f"{tensor.key!r}: {tensor} in {tensor.nbytes} bytes")
    return tensor


def describe(stored: StoredTensor) -> dict[str, Any]:
    """Return the keyword arguments of an index entry: its metadata, where dtype and shape are known."""
    if stored.dtype is None or stored.shape is None:
        return {}
    stand_in = torch.empty(stored.shape, dtype=dtypes.from_name(stored.dtype).torch, device="meta")
    return {"metadata": tensor_metadata(stand_in)}
