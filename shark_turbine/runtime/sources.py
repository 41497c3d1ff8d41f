# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Where the parameters of a module can come from: files, tensors in memory, an index of IREE's."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import iree.runtime as iree
import numpy as np
import torch

from .. import dtypes
from ..checkpoints import (
    Checkpoint,
    FileVersion,
    Found,
    bytes_of,
    hash_stored,
    hash_tensors,
    open_checkpoint,
    parse_metadata,
)
from ..errors import ParameterError
from .checks import describe
from .tensors import from_numpy

# IREE uses parameters where they are mapped if they begin at a multiple of this; others it copies.
_ALIGNMENT = 64


@dataclass(frozen=True, slots=True)
class Offered:
    """What is known of a tensor before its bytes are read; None is not known."""

    dtype: str | None
    shape: tuple[int, ...] | None
    nbytes: int


class Source(Protocol):
    """Tensors by key."""

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    @property
    def offered(self) -> Mapping[str, Found]:
        """What is known of each tensor."""
        ...

    def hashes(self, keys: Iterable[str]) -> dict[str, str]:
        """Return the hashes of tensors, where they can be computed."""
        ...

    def add(self, index: Any, key: str, under: str) -> None:
        """Put a tensor into an `iree.ParameterIndex`."""
        ...


class FileSource:
    """The tensors of files, which are mapped where IREE can use them so, and read elsewhere."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.name = checkpoint.name
        self.offered = checkpoint.tensors
        self._tensors = checkpoint.tensors
        self._mapped = cache(_mapped)
        self._readable = cache(_readable)

    def hashes(self, keys: Iterable[str]) -> dict[str, str]:
        keys = list(keys)
        return dict(zip(keys, hash_stored([self._tensors[key] for key in keys]), strict=True))

    def add(self, index: Any, key: str, under: str) -> None:
        tensor = self._tensors[key]
        if tensor.pattern:
            index.add_splat(under, tensor.pattern, tensor.nbytes)
            return
        # What IREE would copy is read: a copy of mapped memory is in memory twice.
        is_aligned = tensor.offset % _ALIGNMENT == 0
        handle = (self._mapped if is_aligned else self._readable)(tensor.file)
        index.add_from_file_handle(under, handle, tensor.nbytes, offset=tensor.offset)


class MemorySource:
    """Tensors and arrays, whose memory is used where it is contiguous and aligned."""

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self.name = f"{len(tensors)} tensors in memory"
        self.offered = {
            key: Offered(
                dtypes.from_torch(tensor.dtype, what=f"parameter {key!r}").name,
                tuple(tensor.shape),
                tensor.nbytes,
            )
            for key, tensor in tensors.items()
        }
        self._tensors = tensors

    def hashes(self, keys: Iterable[str]) -> dict[str, str]:
        twins: dict[object, list[str]] = {}
        for key in keys:
            tensor = self._tensors[key]
            seen = (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
            twins.setdefault(seen, []).append(key)
        hashes = hash_tensors({names[0]: self._tensors[names[0]] for names in twins.values()})
        return {name: hashes[names[0]] for names in twins.values() for name in names}

    def add(self, index: Any, key: str, under: str) -> None:
        index.add_buffer(under, bytes_of(self._tensors[key]))


class IndexSource:
    """An index of IREE's; of two entries with one key the first counts, as for IREE."""

    def __init__(self, index: Any) -> None:
        self.name = f"an iree.runtime.ParameterIndex of {len(index)} entries"
        self._entries: dict[str, Any] = {}
        for key, entry in index.items():
            self._entries.setdefault(key, entry)
        self.offered = {
            key: Offered(*parse_metadata(bytes(entry.metadata)), entry.length)
            for key, entry in self._entries.items()
        }

    def hashes(self, keys: Iterable[str]) -> dict[str, str]:
        tensors: dict[str, torch.Tensor] = {}
        for key in keys:
            entry = self._entries[key]
            if entry.is_splat:
                pattern = bytes(entry.splat_pattern)
                memory = np.frombuffer(pattern * (entry.length // len(pattern)), np.uint8)
            elif entry.is_file and entry.file_storage[0].is_host_allocation and entry.length:
                memory = np.frombuffer(entry.file_view, np.uint8)
            else:
                continue  # Not in memory: IREE will read it, and nobody else can.
            tensors[key] = from_numpy(memory, dtypes.from_name("u8"))
        return hash_tensors(tensors)

    def add(self, index: Any, key: str, under: str) -> None:
        entry = self._entries[key]
        if entry.is_splat:
            index.add_splat(under, bytes(entry.splat_pattern), entry.length)
            return
        handle, offset = entry.file_storage
        index.add_from_file_handle(under, handle, entry.length, offset=offset)


def open_source(source: Any, where: str) -> Source:
    """Return the tensors that a value of `load(..., parameters=)` names.

    Raises:
        ParameterError: it is nothing that can hold parameters, or a file cannot be read.
    """
    match source:
        case iree.ParameterIndex():
            return IndexSource(source)
        case Mapping() if all(map(is_tensor, source.values())):
            return MemorySource({str(key): _to_tensor(value) for key, value in source.items()})
        case str() | os.PathLike():
            return FileSource(open_checkpoint(source))
        case list() | tuple() if source and all(map(is_path, source)):
            return FileSource(open_checkpoint(source))
        case _:
            raise ParameterError(
                "parameters cannot come from this",
                where=where,
                got=describe(source),
                expected="the path of a .safetensors, .irpa or .gguf file or of a checkpoint folder, "
                "a list of paths, a dict from keys to tensors, or an iree.runtime.ParameterIndex",
            )


def is_path(value: object) -> bool:
    """Return whether a value is a path."""
    return isinstance(value, (str, os.PathLike))


def is_tensor(value: object) -> bool:
    """Return whether a value is a tensor or an array."""
    return isinstance(value, (torch.Tensor, np.ndarray, np.generic))


def _to_tensor(value: Any) -> torch.Tensor:
    if isinstance(value, torch.Tensor):
        return value
    array = np.asarray(value)
    return from_numpy(array, dtypes.from_numpy(array.dtype))


def _mapped(file: FileVersion) -> Any:
    with file.open() as opened:
        memory: Any = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    return iree.FileHandle.wrap_memory(memory)


def _readable(file: FileVersion) -> Any:
    with file.open() as opened:
        return iree.FileHandle.wrap_fd(opened.fileno())  # It has a descriptor of its own.
