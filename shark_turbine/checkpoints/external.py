# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What an artifact says about a parameter that is not in it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shark_turbine import dtypes

from .folding import KIND


@dataclass(frozen=True, slots=True)
class ExternalParameter:
    """One external parameter of a module, as its manifest holds it.

    Attributes:
        scope, key: where IREE's runtime looks for it.
        dtype: a name of the dtype table.
        aliases: other keys that a file may hold it under: the names of tied weights.
        hash: of its bytes, see `folding`, in hexadecimal; None where there were none at export.
    """

    scope: str
    key: str
    dtype: str
    shape: tuple[int, ...]
    aliases: tuple[str, ...] = ()
    hash: str | None = None

    @property
    def nbytes(self) -> int:
        """Its length in bytes."""
        return dtypes.from_name(self.dtype).size * math.prod(self.shape)

    @property
    def keys(self) -> tuple[str, ...]:
        """Every key that a file may hold it under, the first choice first."""
        return (self.key, *self.aliases)

    def to_json(self) -> dict[str, Any]:
        """Return what the manifest holds."""
        return {
            "scope": self.scope,
            "key": self.key,
            "dtype": self.dtype,
            "shape": list(self.shape),
            "nbytes": self.nbytes,
            "aliases": list(self.aliases),
            "hash": None if self.hash is None else f"{KIND}:{self.hash}",
        }

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> ExternalParameter:
        """Return what `to_json` wrote; a hash of another kind counts as none."""
        kind, _, digest = str(entry.get("hash") or "").partition(":")
        return cls(
            scope=str(entry["scope"]),
            key=str(entry["key"]),
            dtype=dtypes.from_name(entry["dtype"]).name,
            shape=tuple(map(int, entry["shape"])),
            aliases=tuple(map(str, entry.get("aliases", ()))),
            hash=digest if kind == KIND else None,
        )

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"
