# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A tensor in a file, before anything but the file's header was read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from shark_turbine.errors import ParameterError


@dataclass(frozen=True, slots=True)
class FileVersion:
    """A file as it was when it was looked at; writing to it or replacing it makes another version."""

    path: Path
    size: int
    modified_ns: int
    inode: int

    @classmethod
    def of(cls, path: Path, file: IO[bytes]) -> FileVersion:
        """Return the version of an open file."""
        stat = os.fstat(file.fileno())
        return cls(path.absolute(), stat.st_size, stat.st_mtime_ns, stat.st_ino)

    def open(self) -> IO[bytes]:
        """Open this version of the file to read it.

        Raises:
            ParameterError: it is gone, cannot be read, or was changed in the meantime.
        """
        try:
            file = self.path.open("rb")
        except OSError as error:
            raise unreadable(self.path, error) from error
        if FileVersion.of(self.path, file) != self:
            file.close()
            raise ParameterError(
                "the parameter file changed while it was read",
                where=str(self.path),
                fix="try again when nobody writes to it",
            )
        return file


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in a file.

    Attributes:
        dtype: a name of the dtype table; None where the file does not say, or a block format.
        shape: sizes of the dims; None where the file does not say.
        nbytes: its length in bytes.
        file: the version of the file that holds it.
        offset: where its bytes begin in the file, in bytes.
        pattern: if not empty, nothing is stored: these bytes repeat over the whole length.
        format: what the file calls its dtype, for messages.
    """

    key: str
    dtype: str | None
    shape: tuple[int, ...] | None
    nbytes: int
    file: FileVersion
    offset: int
    pattern: bytes = b""
    format: str = ""

    def __str__(self) -> str:
        kind = self.dtype or self.format
        if self.shape is None:
            return f"{self.nbytes} bytes{f' of {kind}' if kind else ''}"
        return f"{kind or 'unknown'}[{', '.join(map(str, self.shape))}]"


def index_by_key(tensors: list[StoredTensor], path: Path) -> Mapping[str, StoredTensor]:
    """Return the tensors of a file by their keys; each has to lie inside it.

    Raises:
        ParameterError: the file is shorter than its header says, or has a key twice.
    """
    found: dict[str, StoredTensor] = {}
    for tensor in tensors:
        if found.setdefault(tensor.key, tensor) is not tensor:
            raise ParameterError(
                f"the parameter file holds {tensor.key!r} twice",
                where=str(path),
                fix="write it again with every key once",
            )
        end = tensor.offset + (0 if tensor.pattern else tensor.nbytes)
        if tensor.offset < 0 or tensor.nbytes < 0 or end > tensor.file.size:
            raise damaged(
                path,
                f"{tensor.key!r} ends at byte {end}, and the file has {tensor.file.size} bytes",
            )
    return found


def damaged(path: Path, got: str) -> ParameterError:
    """Return the error of a file that is not what its first bytes say."""
    return ParameterError(
        "the parameter file is cut short or damaged",
        where=str(path),
        got=got,
        fix="copy it again from where it came",
    )


def unreadable(path: Path, error: OSError) -> ParameterError:
    """Return the error of a file that cannot be opened."""
    return ParameterError(
        "the parameter file cannot be read",
        where=str(path),
        got=error.strerror or str(error),
        expected="a .safetensors, .irpa or .gguf file, or a folder of .safetensors files",
    )
