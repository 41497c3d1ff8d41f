# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What tuning is told, and whether it has a meaning."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shark_turbine.compiler import Recipe
from shark_turbine.errors import DeclarationError

Parameters = str | os.PathLike[str] | Sequence[Any] | Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class TuningOptions:
    """What `ExportOutput.tune` of `aot` is told; it says what each means."""

    args: Sequence[Any] | None = None
    kwargs: Mapping[str, Any] | None = None
    function: str | None = None
    budget: float | None = 600.0
    candidates: Sequence[Recipe] | None = None
    parameters: Parameters = None
    executor: Any = None
    tolerance: float | None = None
    margin: float = 0.03
    trial_timeout: float = 300.0
    measure: float = 1.0
    fresh: bool = False
    progress: bool = True

    def check(self, where: str) -> None:
        """Raise a DeclarationError where an option has no meaning."""
        for name in ("budget", "trial_timeout", "measure", "tolerance"):
            value = getattr(self, name)
            may_be_none = name in ("budget", "tolerance")
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not (may_be_none and value is None) and not (is_number and value > 0):
                raise DeclarationError(
                    f"{name}= is a positive number{' or None' if may_be_none else ''}",
                    where=where,
                    got=f"{name}={value!r}",
                    expected="a number" if name == "tolerance" else "seconds",
                    fix=f"{name}={getattr(TuningOptions(), name)}",
                )
        if not 0 <= self.margin < 1:
            raise DeclarationError(
                "margin= is the share of its time that a winner must save",
                where=where,
                got=f"margin={self.margin!r}",
                expected="a number from 0 up to 1",
                fix="margin=0.03",
            )
        strange = [one for one in self.candidates or () if not isinstance(one, Recipe)]
        if strange:
            raise DeclarationError(
                "candidates= are recipes",
                where=where,
                got=f"{strange[0]!r}"[:100],
                expected="shark_turbine.compiler.Recipe objects",
                fix="compiler.Recipe('mine', ('--iree-opt-level=O3',))",
            )
