# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""From a path, bytes or a compiled vmfb to verified memory that nobody else can change.

A vmfb is a ZIP whose checksums IREE does not look at; a flipped bit can crash the process. So every
byte is read into private memory first, checked there, and only then mapped by IREE. The copy also
means that rewriting or truncating the file later cannot kill a process that runs it.
"""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy

from ..errors import LoadError
from ..signature import FunctionSignature, StateEntry
from . import huge_pages

MANIFEST = "shark_turbine.json"
FORMAT = 1
ALIGNMENT = 64


@runtime_checkable
class Mappable(Protocol):
    """A compiled vmfb in memory: what `ExportOutput.compile(save_to=None)` gives."""

    def map_memory(self) -> Any: ...


Source = Mappable | str | os.PathLike[str] | bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Artifact:
    """Verified memory, what messages call it, and the manifest (None in a stock vmfb).

    `state` is None where the producer of the vmfb did not say which globals change.
    """

    origin: str
    memory: memoryview
    manifest: dict[str, Any] | None
    functions: tuple[FunctionSignature, ...]
    state: tuple[StateEntry, ...] | None


def read(source: Source) -> Artifact:
    """Read a vmfb into private memory and verify every checksum in it.

    Raises:
        LoadError: it cannot be read, is empty, cut short, damaged, or no vmfb.
    """
    origin, memory = _memory(source)
    manifest = _verify(origin, memory)
    try:
        functions = tuple(map(FunctionSignature.from_json, (manifest or {}).get("functions", ())))
        state = (manifest or {}).get("state")
        state = None if state is None else tuple(map(StateEntry.from_json, state))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LoadError(
            "the manifest inside the vmfb cannot be understood",
            where=origin,
            got=f"{type(error).__name__}: {error}",
            fix="compile it again",
        ) from error
    return Artifact(origin, memory, manifest, functions, state)


# ------------------------------------------------------------------------------------------ bytes into memory --


def _memory(source: Source) -> tuple[str, memoryview]:
    if isinstance(source, (bytes, bytearray, memoryview)):
        return "<bytes>", _aligned(memoryview(source).cast("B"))
    if isinstance(source, (str, os.PathLike)):
        return str(source), _read_file(os.fspath(source))
    if isinstance(source, Mappable):
        return "<vmfb>", _aligned(memoryview(source.map_memory()).cast("B"))
    raise LoadError(
        "load() takes a compiled vmfb, a path or bytes",
        got=f"{type(source).__name__}",
        expected="what compile() returned, the path of a .vmfb file, or its bytes",
        fix='shark_turbine.runtime.load("model.vmfb")',
    )


def _aligned(view: memoryview) -> memoryview:
    """Return the memory itself where it is read-only and aligned, else an aligned private copy."""
    if view.readonly and len(view) and _address(view) % ALIGNMENT == 0:
        return view
    copy = huge_pages.allocate(len(view))
    copy[:] = view
    return copy.toreadonly()


def _address(view: memoryview) -> int:
    return int(numpy.frombuffer(view, numpy.uint8).ctypes.data)


def _read_file(path: str) -> memoryview:
    try:
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            memory = huge_pages.allocate(size)
            done = 0
            while done < size and (count := file.readinto(memory[done:])):
                done += count
    except OSError as error:
        raise LoadError(
            "the file cannot be read",
            where=path,
            got=error.strerror or str(error),
            expected="the path of a .vmfb file",
        ) from error
    if done < size:
        raise _damaged(path, f"the file became shorter while it was read: {done} of {size} bytes")
    return memory.toreadonly()


# ---------------------------------------------------------------------------------------------- verification --


def _verify(origin: str, memory: memoryview) -> dict[str, Any] | None:
    """Check every CRC and return the manifest."""
    _refuse_what_is_no_vmfb(origin, memory)
    try:
        with zipfile.ZipFile(_MemoryFile(memory)) as archive:
            for entry in archive.infolist():
                _verify_entry(origin, memory, archive, entry)
            names = archive.namelist()
            manifest = json.loads(archive.read(MANIFEST)) if MANIFEST in names else None
    except LoadError:
        raise
    except Exception as error:  # zipfile answers damage with a dozen kinds of exceptions
        raise _damaged(origin, f"{str(error) or type(error).__name__}") from error
    if "module.fb" not in names:
        raise _no_vmfb(origin, f"a ZIP file of {', '.join(names[:4]) or 'nothing'}")
    if manifest is not None and (
        not isinstance(manifest, dict) or manifest.get("format") != FORMAT
    ):
        raise LoadError(
            "the vmfb was written by another version of shark_turbine",
            where=origin,
            got=f"manifest format {manifest.get('format') if isinstance(manifest, dict) else manifest!r}",
            expected=f"manifest format {FORMAT}",
            fix="compile it again with this version, or upgrade shark_turbine",
        )
    return manifest


def _verify_entry(
    origin: str, memory: memoryview, archive: zipfile.ZipFile, entry: zipfile.ZipInfo
) -> None:
    """Compare the checksum of one entry, where it lies if it is not compressed."""
    with archive.open(entry) as content:  # compares the two headers
        if entry.compress_type != zipfile.ZIP_STORED:
            while content.read(1 << 20):  # compares the checksum at the end
                pass
            return
    name, extra = struct.unpack_from("<HH", memory, entry.header_offset + 26)
    start = entry.header_offset + 30 + name + extra
    data = memory[start : start + entry.file_size]
    if zlib.crc32(data) != entry.CRC or len(data) != entry.compress_size:
        raise _damaged(origin, f"the checksum of {entry.filename!r} inside does not match")


def _refuse_what_is_no_vmfb(origin: str, memory: memoryview) -> None:
    head = bytes(memory[:16])
    if not head:
        raise LoadError(
            "the vmfb is empty",
            where=origin,
            got="0 bytes",
            fix="compile it again; the writer was interrupted",
        )
    if head[4:8] == b"IREE" or head[8:12] == b"IREE":
        raise LoadError(
            "the vmfb has no checksums, so damage could not be seen",
            where=origin,
            fix="compile with --iree-vm-emit-polyglot-zip=true (the compiler's default)",
        )
    if head[:4] != b"PK\x03\x04":
        kind = head.decode("ascii", "replace")
        raise _no_vmfb(origin, f"{len(memory)} bytes that begin with {kind[:12]!r}")


def _no_vmfb(origin: str, got: str) -> LoadError:
    return LoadError(
        "this is not a vmfb",
        where=origin,
        got=got,
        expected="a compiled artifact, as compile(save_to='model.vmfb') writes it",
        fix="compile the module first and load what comes out",
    )


def _damaged(origin: str, got: str) -> LoadError:
    return LoadError(
        "the vmfb is cut short or damaged",
        where=origin,
        got=got,
        fix="copy it again from where it came, or compile it again",
    )


class _MemoryFile(io.RawIOBase):
    """A file over memory that copies only what is asked for (io.BytesIO would copy everything)."""

    def __init__(self, memory: memoryview) -> None:
        self._memory = memory
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = (0, self._position, len(self._memory))[whence]
        if start + offset < 0:
            raise OSError("seek before the start")
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        piece = self._memory[self._position : self._position + len(buffer)]
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)
