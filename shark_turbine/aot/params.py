# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Parameter archives: the weights of a module in a file of their own."""

from __future__ import annotations

import mmap as memory_map
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import iree.runtime as iree
import torch

from shark_turbine import dtypes
from shark_turbine.checkpoints import (
    FileVersion,
    bytes_of,
    describe,
    open_checkpoint,
    parse_metadata,
    tensor_metadata,
    write_safetensors,
)
from shark_turbine.errors import ParameterError
from shark_turbine.files import check_target, new_file

from .state import saved_tensors, tied_names
from .traits import ExternalTensorTrait


def externalize_module_parameters(
    module: torch.nn.Module, *, external_scope: str = "", prefix: str = ""
) -> None:
    """Mark every parameter and persistent buffer of a module as external, under its qualified name.

    Modules that are exported afterwards do not store them. Tied ones have the first of their names.

    Args:
        module: what will be exported.
        external_scope: the scope that `load(..., parameters={scope: file})` names; "" by default.
        prefix: comes before the names, with a dot.
    """
    for name, tensor in _each_once(module, prefix).items():
        ExternalTensorTrait(external_scope, name).set(tensor)


def save_module_parameters(
    file_path: str | os.PathLike[str], module: torch.nn.Module, *, prefix: str = ""
) -> None:
    """Write every parameter and persistent buffer of a module to a file, tied ones once.

    Args:
        file_path: ends in `.irpa` (which is added where nothing is) or in `.safetensors`.
        module: whose parameters.
        prefix: comes before the names, with a dot.

    Raises:
        SaveError: the file cannot be written; what was there before is untouched.
    """
    builder = ParameterArchiveBuilder()
    builder.add_module(module, prefix=prefix)
    builder.save(file_path)


class ParameterArchiveEntry:
    """A tensor or blob of an archive, as `ParameterArchive.items()` gives it.

    `raw` is the `iree.runtime.ParameterIndexEntry`.
    """

    def __init__(self, raw: Any) -> None:
        self.raw = raw

    @property
    def key(self) -> str:
        """The key in the archive."""
        return self.raw.key

    def as_flat_tensor(self) -> torch.Tensor:
        """Return the bytes as a flat uint8 tensor, over the archive's memory where there is some.

        Raises:
            ParameterError: the bytes are not in memory.
        """
        if self.raw.is_splat:
            pattern = bytes(self.raw.splat_pattern)
            count = self.raw.length // len(pattern)
            return torch.frombuffer(bytearray(pattern), dtype=torch.uint8).repeat(count)
        if not self.raw.is_file:
            raise self._error("has no bytes in memory", "an entry of a file that was loaded")
        if self.raw.length == 0:
            return torch.empty(0, dtype=torch.uint8)
        with warnings.catch_warnings():
            # Memory of an archive is private, or the tensor's own: writing to it is harmless.
            warnings.filterwarnings("ignore", "The given buffer is not writable")
            return torch.frombuffer(self.raw.file_view, dtype=torch.uint8)

    def as_tensor(self) -> torch.Tensor:
        """Return the tensor, with the dtype and shape that the archive says.

        Raises:
            ParameterError: the archive says neither: the entry is a blob or in a block format.
        """
        dtype, shape = parse_metadata(self.raw.metadata)
        if dtype is None or shape is None:
            raise self._error("is no tensor", "an entry whose dtype and shape the archive knows")
        row = dtypes.from_name(dtype)
        flat = self.as_flat_tensor()
        if flat.data_ptr() % max(1, row.torch.itemsize):
            flat = flat.clone()  # torch reads only what lies at a multiple of its size.
        return flat.view(row.torch).view(shape)

    def _error(self, what: str, expected: str) -> ParameterError:
        return ParameterError(
            f"the entry {self.key!r} {what}",
            got=f"{self.raw.length} bytes, described as {bytes(self.raw.metadata)[:60]!r}",
            expected=expected,
            fix="as_flat_tensor() gives its bytes" if self.raw.is_file else None,
        )

    def __repr__(self) -> str:
        return f"ParameterArchiveEntry({self.key!r}, {self.raw.length} bytes)"


class ParameterArchive:
    """Reads `.irpa`, `.safetensors` and `.gguf` files, and folders of shards.

    Tensors lie in mapped, private memory: writing to one changes neither the file nor other
    processes.

    Args:
        file_path: a file or a folder; None starts with nothing.
        mmap: map the files; False reads them.

    Raises:
        ParameterError: a file is missing, damaged, or of another format.
    """

    def __init__(self, file_path: str | os.PathLike[str] | None = None, mmap: bool = True) -> None:
        self._index = iree.ParameterIndex()
        self._keys: set[str] = set()
        if file_path is not None:
            self.load(file_path, mmap=mmap)

    def load(self, file_path: str | os.PathLike[str], mmap: bool = True) -> None:
        """Add the entries of a file or folder.

        Args:
            file_path: an `.irpa`, `.safetensors` or `.gguf` file, or a folder of shards.
            mmap: map the files; False reads them.

        Raises:
            ParameterError: it cannot be read, or has a key that is already there.
        """
        checkpoint = open_checkpoint(file_path)
        _refuse_known(self._keys, checkpoint.tensors, str(file_path))
        self._keys.update(checkpoint.tensors)
        handles = {file: _handle(file, mmap) for file in checkpoint.files}
        for key, tensor in checkpoint.tensors.items():
            described = describe(tensor)
            if tensor.pattern:
                self._index.add_splat(key, tensor.pattern, tensor.nbytes, **described)
            else:
                self._index.add_from_file_handle(
                    key, handles[tensor.file], tensor.nbytes, offset=tensor.offset, **described
                )

    @property
    def index(self) -> Any:
        """The `iree.runtime.ParameterIndex`, for `load(..., parameters={scope: archive.index})`."""
        return self._index

    def items(self) -> list[tuple[str, ParameterArchiveEntry]]:
        """Return keys and entries, in the order of the files."""
        return [(key, ParameterArchiveEntry(raw)) for key, raw in self._index.items()]

    def __repr__(self) -> str:
        return repr(self._index)


class ParameterArchiveBuilder:
    """Collects tensors and writes them to a file. They are not copied: keep them as they are until then."""

    def __init__(self) -> None:
        self._index = iree.ParameterIndex()
        self._tensors: dict[str, torch.Tensor] = {}
        self._blobs: set[str] = set()

    @property
    def index(self) -> Any:
        """The `iree.runtime.ParameterIndex` over the tensors' memory."""
        return self._index

    def add_tensor(self, name: str, tensor: torch.Tensor) -> None:
        """Add a tensor.

        Args:
            name: its key in the file.
            tensor: what is written when the file is.

        Raises:
            UnsupportedTypeError: no compiled module can hold its dtype.
            ParameterError: the name is taken.
        """
        dtypes.from_torch(tensor.dtype, what=name)
        self._refuse_taken(name)
        self._tensors[name] = tensor
        self._index.add_buffer(name, bytes_of(tensor), metadata=tensor_metadata(tensor))

    def add_module(self, module: torch.nn.Module, *, prefix: str = "") -> None:
        """Add every parameter and persistent buffer of a module, tied ones under their first name.

        Args:
            module: whose parameters.
            prefix: comes before the names, with a dot.

        Raises:
            UnsupportedTypeError: no compiled module can hold a dtype.
            ParameterError: a name is taken.
        """
        for name, tensor in _each_once(module, prefix).items():
            self.add_tensor(name, tensor)

    def add_blob(self, key: str, blob: Any) -> None:
        """Add bytes without a dtype.

        Args:
            key: their key in the file.
            blob: anything that has a buffer.

        Raises:
            ParameterError: the key is taken.
        """
        self._refuse_taken(key)
        self._blobs.add(key)
        self._index.add_buffer(key, blob)

    def save(self, file_path: str | os.PathLike[str]) -> None:
        """Write the file, whole or not at all; an older one is replaced.

        Args:
            file_path: ends in `.irpa`, which is added where nothing is, or in `.safetensors`.

        Raises:
            ParameterError: the ending is neither `.irpa` nor `.safetensors`, or there is a blob,
                which safetensors files cannot hold.
            SaveError: it cannot be written.
        """
        path = Path(file_path)
        if not path.suffix:
            path = path.with_name(f"{path.name}.irpa")
        if path.suffix == ".irpa":
            self._save_irpa(path)
        elif path.suffix == ".safetensors" and not self._blobs:
            with new_file(path) as (file, publish):
                write_safetensors(file, self._tensors)
                publish()
        else:
            raise ParameterError(
                f"parameters cannot be saved to {path.name}",
                where=str(path),
                got=f"blobs: {', '.join(sorted(self._blobs))}" if self._blobs else path.suffix,
                expected=".irpa, or .safetensors where there are tensors only",
                fix=f"save to {path.with_suffix('.irpa').name}",
            )

    def _save_irpa(self, path: Path) -> None:
        check_target(path)
        with new_file(path) as (file, publish):
            # IREE opens the file by its path: nameless files have one in /proc.
            self._index.create_archive_file(f"/proc/self/fd/{file.fileno()}")
            publish()

    def _refuse_taken(self, name: str) -> None:
        _refuse_known({*self._tensors, *self._blobs}, {name: None}, "ParameterArchiveBuilder")


def _each_once(module: torch.nn.Module, prefix: str) -> Mapping[str, torch.Tensor]:
    tensors = saved_tensors(module, prefix)
    tied = tied_names(tensors)
    return {name: tensor for name, tensor in tensors.items() if tied[name][0] == name}


def _refuse_known(known: set[str], added: Mapping[str, Any], where: str) -> None:
    twice = sorted(known.intersection(added))
    if twice:
        raise ParameterError(
            "the archive has these keys already",
            where=where,
            got=", ".join(map(repr, twice)),
            expected="each key once",
            fix="add them with a prefix, or to an archive of their own",
        )


def _handle(file: FileVersion, mmap: bool) -> Any:
    with file.open() as opened:
        if mmap and file.size:
            memory: Any = memory_map.mmap(opened.fileno(), 0, access=memory_map.ACCESS_COPY)
        else:
            memory = bytearray(opened.read())
    return iree.FileHandle.wrap_memory(memory, readable=True, writable=True)
