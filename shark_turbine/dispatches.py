# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the dispatches of a vmfb are and where they came from: a door type without torch, MLIR or IREE.

`compiler` writes a `DispatchMap` into the vmfb, as one compressed entry of its ZIP file; `profiling`
reads it back to put times beside it.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import IO, Any

from .errors import SourceLocation

Json = Any

ENTRY = "shark_turbine_dispatches.json"
# Written behind the other one where the same program came from other lines than those in it.
MOVED_ENTRY = "shark_turbine_origins.json"
# What a name in a location of MLIR begins with, if it is the path of an `nn.Module`.
MODULE_PREFIX = "nn.Module "


@dataclass(frozen=True, slots=True)
class Kernel:
    """A function of generated code, as a dispatch runs it.

    `flops` counts the arithmetic of one dispatch: 2·M·N·K for a matrix product, one for each
    floating-point operation on an element elsewhere. `nbytes` are those of the tensors that it reads
    and writes. None is unknown: a size that depends on the arguments, or an operation without a
    count. `dtype` is what the products multiply, in MLIR's words; None where there are none.
    """

    name: str
    flops: int | None
    nbytes: int | None
    dtype: str | None = None

    def to_json(self) -> Json:
        return [self.name, self.flops, self.nbytes, self.dtype]

    @classmethod
    def from_json(cls, data: Json) -> Kernel:
        return cls(*data)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an operation came from: the path of the `nn.Module` (`""` is the root), and the line."""

    path: str | None
    location: SourceLocation | None

    def to_json(self) -> Json:
        if self.location is None:
            return [self.path]
        return [self.path, self.location.file, self.location.line]

    @classmethod
    def from_json(cls, data: Json) -> Origin:
        path, *place = data
        return cls(path, SourceLocation(*place) if place else None)


@dataclass(frozen=True, slots=True)
class Site:
    """A place of the program that dispatches a kernel, and the operations that were fused there.

    Operations are numbered in the order of the module that was compiled, the most important first.
    """

    kernel: str
    operations: tuple[int, ...]

    def to_json(self) -> Json:
        return [self.kernel, *self.operations]

    @classmethod
    def from_json(cls, data: Json) -> Site:
        return cls(data[0], tuple(data[1:]))


@dataclass(frozen=True, slots=True)
class DispatchMap:
    """Kernels by name, the sites of each function in order, and the origins of their operations.

    `weights` are the bytes of the constants and immutable globals inside the module.
    """

    kernels: Mapping[str, Kernel]
    sites: Mapping[str, tuple[Site, ...]]
    origins: Mapping[int, Origin]
    weights: int

    def moved(self, origins: Mapping[int, Origin]) -> DispatchMap:
        """Return the map of an equal program whose operations came from elsewhere."""
        known = {number: origins[number] for number in self.origins if number in origins}
        return replace(self, origins=known)

    def to_json(self) -> Json:
        return {
            "kernels": [kernel.to_json() for kernel in self.kernels.values()],
            "sites": {
                name: [site.to_json() for site in sites] for name, sites in self.sites.items()
            },
            "origins": origins_to_json(self.origins),
            "weights": self.weights,
        }

    @classmethod
    def from_json(cls, data: Json) -> DispatchMap:
        kernels = [Kernel.from_json(item) for item in data["kernels"]]
        return cls(
            {kernel.name: kernel for kernel in kernels},
            {
                name: tuple(Site.from_json(item) for item in sites)
                for name, sites in data["sites"].items()
            },
            origins_from_json(data["origins"]),
            data["weights"],
        )


def origins_to_json(origins: Mapping[int, Origin]) -> Json:
    """Write origins as JSON."""
    return [[number, *origin.to_json()] for number, origin in origins.items()]


def origins_from_json(data: Sequence[Json]) -> dict[int, Origin]:
    """Read what `origins_to_json` wrote."""
    return {number: Origin.from_json(rest) for number, *rest in data}


def read_map(file: IO[bytes]) -> DispatchMap | None:
    """Return the map in a vmfb; None where there is none, or one of another version."""
    try:
        with zipfile.ZipFile(file) as archive:
            found = DispatchMap.from_json(json.loads(archive.read(ENTRY)))
            if MOVED_ENTRY in archive.namelist():
                return replace(
                    found, origins=origins_from_json(json.loads(archive.read(MOVED_ENTRY)))
                )
            return found
    except (KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile):
        return None
