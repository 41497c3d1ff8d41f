# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The compiled artifact: bytes that stay mapped as long as anyone looks at them."""

from __future__ import annotations

import json
import mmap
import os
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from shark_turbine.dispatches import DispatchMap, read_map
from shark_turbine.errors import LoadError
from shark_turbine.files import new_file
from shark_turbine.signature import FunctionSignature, StateEntry

MANIFEST_NAME = "shark_turbine.json"
MANIFEST_FORMAT = 1

# A file that someone truncates while it is mapped takes the process with it (SIGBUS). Up to this
# size the bytes are copied out of a file that others can see; above it the copy costs too much.
_COPY_LIMIT = 64 * 2**20


class Vmfb:
    """A compiled module, as IREE's runtime loads it.

    Made by `shark_turbine.compiler.compile` or `Vmfb.open`. The memory is read-only, aligned to
    pages, and owned by a Python object that every buffer keeps alive.

    Args:
        memory: the bytes.
        path: the file that they are from; None where there is none.
    """

    def __init__(self, memory: mmap.mmap, *, path: Path | None = None) -> None:
        self._memory = memory
        self._path = path
        self._manifest = read_manifest(memory)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Vmfb:
        """Open a compiled file.

        Args:
            path: the file.

        Raises:
            LoadError: there is no such file, or it is empty.
        """
        path = Path(path)
        try:
            with path.open("rb") as file:
                return cls(_map(file, shared=True), path=path.absolute())
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise LoadError(f"{path} cannot be opened as a vmfb: {reason}") from error

    @classmethod
    def from_file(cls, file: IO[bytes], path: Path | None) -> Vmfb:
        """Take over a finished, open `file`: its bytes stay when it is closed or unlinked.

        `path` is where it stays; None where it has no name.
        """
        file.flush()
        return cls(_map(file, shared=path is not None), path=path and path.absolute())

    @property
    def path(self) -> Path | None:
        """Where the file is; None when it was never saved."""
        return self._path

    @property
    def size(self) -> int:
        """Bytes of the artifact."""
        return len(self._memory)

    @property
    def manifest(self) -> dict[str, Any]:
        """What the artifact says about itself; empty in a vmfb of another producer."""
        return self._manifest

    @property
    def target(self) -> dict[str, Any]:
        """The manifest's target: backends, triple, CPU and its features, resolved."""
        return self._manifest.get("target", {})

    @property
    def functions(self) -> tuple[FunctionSignature, ...]:
        """The signatures of the public functions, where the producer gave them."""
        return tuple(map(FunctionSignature.from_json, self._manifest.get("functions", ())))

    @property
    def dispatches(self) -> DispatchMap | None:
        """What the dispatches are and where they came from; None in a vmfb that does not say."""
        return read_map(_Reader(self._memory))  # type: ignore[arg-type]  all that a ZIP file needs

    def map_memory(self) -> memoryview:
        """Return the artifact's bytes without a copy: read-only, aligned to 64 bytes and more.

        `iree.runtime.VmModule.wrap_buffer(instance, vmfb.map_memory())` takes it. The memory lives
        as long as this object, the returned view, or a module that was made from it.
        """
        return memoryview(self._memory).toreadonly()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the artifact to `path`, whole or not at all; an older file there is replaced.

        Raises:
            SaveError: it cannot be written; what was at `path` is untouched.
        """
        path = Path(path)
        with new_file(path) as (file, publish):
            file.write(self._memory)
            publish()
        if self._path is None:
            self._path = path.absolute()

    def __len__(self) -> int:
        return len(self._memory)

    def __bytes__(self) -> bytes:
        return bytes(self._memory)

    def __repr__(self) -> str:
        name = self._manifest.get("module")
        parts = [name and f"@{name}", _readable_size(self.size), self.target.get("cpu")]
        if self._path is not None:
            parts.append(str(self._path))
        return f"<Vmfb {' '.join(str(part) for part in parts if part)}>"


def make_manifest(
    *,
    producer: str,
    versions: dict[str, str],
    name: str | None,
    target: dict[str, Any],
    recipe: dict[str, Any],
    flags: Sequence[str],
    contracts_stripped: bool,
    signatures: Sequence[FunctionSignature],
    stateful: bool | None = None,
    state: Sequence[StateEntry] | None = None,
    preserves_inputs: bool = False,
    parameters: Sequence[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Return the manifest of a new artifact; `parameters` are None where nobody knows them."""
    return {
        "format": MANIFEST_FORMAT,
        "producer": producer,
        "versions": versions,
        "module": name,
        "target": target,
        "recipe": recipe,
        "flags": list(flags),
        "contracts_stripped": contracts_stripped,
        "stateful": stateful,
        "state": None if state is None else [entry.to_json() for entry in state],
        "preserves_inputs": preserves_inputs,
        "functions": [signature.to_json() for signature in signatures],
        "parameters": None if parameters is None else list(parameters),
    }


def append_manifest(file: IO[bytes], manifest: dict[str, Any]) -> None:
    """Add the manifest to a vmfb, which is a ZIP file too; the same manifest gives the same bytes."""
    entry = zipfile.ZipInfo(MANIFEST_NAME, date_time=(1980, 1, 1, 0, 0, 0))
    entry.create_system = 3
    entry.external_attr = 0o644 << 16
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(entry, json.dumps(manifest, indent=1, sort_keys=True))


def read_manifest(memory: mmap.mmap) -> dict[str, Any]:
    """Return the manifest inside a vmfb; empty where there is none."""
    try:
        with zipfile.ZipFile(_Reader(memory)) as archive:
            return json.loads(archive.read(MANIFEST_NAME))
    except (KeyError, ValueError, EOFError, zipfile.BadZipFile):
        return {}


class _Reader:
    """A seekable file over mapped memory, with a position of its own."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory
        self._position = 0

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: len(self._memory)}
        position = base[whence] + offset
        if position < 0:
            raise OSError("negative seek position")
        self._position = position
        return position

    def read(self, size: int | None = -1) -> bytes:
        end = len(self._memory) if size is None or size < 0 else self._position + size
        data = self._memory[self._position : end]
        self._position += len(data)
        return data


def _map(file: IO[bytes], *, shared: bool) -> mmap.mmap:
    """Map a file; a small one that others can reach is copied, so that they cannot harm us."""
    size = os.fstat(file.fileno()).st_size
    if size == 0:
        raise ValueError("the file is empty")
    if not shared or size > _COPY_LIMIT:
        return mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
    copy = mmap.mmap(-1, size)
    file.seek(0)
    shutil.copyfileobj(file, copy)
    return copy


def _readable_size(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
