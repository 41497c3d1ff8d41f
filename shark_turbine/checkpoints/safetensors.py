# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The safetensors format: a length (u64), a JSON header of that length, and the tensors' bytes.

Source: https://huggingface.co/docs/safetensors, "Format". Numbers are little-endian, offsets in the
header count from its end.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch

from shark_turbine import dtypes
from shark_turbine.errors import ParameterError

from .memory import bytes_of
from .stored import FileVersion, StoredTensor, damaged

# The format's own limit of a header.
_HEADER_LIMIT = 100_000_000
# IREE uses memory in place where it begins at a multiple of this, and copies it elsewhere.
_ALIGNMENT = 64


def read_safetensors(file: IO[bytes], path: Path) -> list[StoredTensor]:
    """Return the tensors of a file.

    Raises:
        ParameterError: it is damaged.
    """
    version = FileVersion.of(path, file)
    length = int.from_bytes(file.read(8), "little")
    if version.size < 8 or length > min(_HEADER_LIMIT, version.size - 8):
        raise damaged(path, f"a header of {length} bytes in a file of {version.size}")
    try:
        header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        start = 8 + length
        tensors = [_tensor(key, entry, start, version) for key, entry in header.items()]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise damaged(path, f"its header cannot be understood: {error!r}"[:200]) from error
    for tensor in tensors:
        if tensor.dtype is not None:
            size = dtypes.from_name(tensor.dtype).size * math.prod(tensor.shape or ())
            if size != tensor.nbytes:
                raise damaged(path, f"{tensor.key!r}: {tensor} in {tensor.nbytes} bytes")
    return tensors


def _tensor(key: str, entry: Any, start: int, version: FileVersion) -> StoredTensor:
    begin, end = map(int, entry["data_offsets"])
    row = dtypes.from_safetensors(entry["dtype"])
    return StoredTensor(
        key=key,
        dtype=row and row.name,
        shape=tuple(map(int, entry["shape"])),
        nbytes=end - begin,
        file=version,
        offset=start + begin,
        format=str(entry["dtype"]),
    )


def write_safetensors(
    file: IO[bytes], tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors to an open file, such that IREE can use them where they are mapped.

    The format has no room between tensors; those whose length is a multiple of the alignment stand
    first.

    Raises:
        ParameterError: the format has no such dtype.
    """
    in_order = sorted(tensors, key=lambda key: tensors[key].nbytes % _ALIGNMENT != 0)
    header: dict[str, Any] = {"__metadata__": {"format": "pt", **(metadata or {})}}
    position = 0
    for key in in_order:
        tensor = tensors[key]
        end = position + tensor.nbytes
        header[key] = {
            "dtype": _dtype_of(key, tensor),
            "shape": list(tensor.shape),
            "data_offsets": [position, end],
        }
        position = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    file.write(len(text).to_bytes(8, "little"))
    file.write(text)
    for key in in_order:
        file.write(bytes_of(tensors[key]).data)


def _dtype_of(key: str, tensor: torch.Tensor) -> str:
    row = dtypes.from_torch(tensor.dtype, what=key)
    if row.safetensors is None:
        raise ParameterError(
            f"{key!r} has a dtype that safetensors files do not know",
            got=row.torch,
            expected="any other dtype, or a file of another format",
            fix="save to a path that ends in .irpa",
        )
    return row.safetensors
