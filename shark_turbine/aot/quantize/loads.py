# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Procedures that read a quantized global themselves: they see the tensor in floats."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

import torch

from shark_turbine.quantized import dequantize

from ..program import JitFunction, Procedure
from ..steps import Call, Load
from ..types import TensorType
from .stored import StoredWeight


def dequantizing_function(symbol: str, stored: StoredWeight) -> JitFunction:
    """Return a function of no arguments that turns a quantized global back into floats."""
    program = torch.export.export(_Dequantize(stored), ())
    names = [f"{symbol}{suffix}" for suffix in stored.suffixes]
    return JitFunction(
        symbol=_reader(symbol),
        program=program,
        parameters=(),
        results=(TensorType(stored.dtype, stored.shape),),
        globals=dict(zip(("data", "scales"), names, strict=True)),
    )


def replace_loads(
    procedures: tuple[Procedure, ...], quantized: Collection[str]
) -> tuple[tuple[Procedure, ...], set[str]]:
    """Return procedures that call a function where they loaded a quantized global, and the symbols concerned."""
    read: set[str] = set()

    def replaced(step: Any) -> Any:
        if isinstance(step, Load):
            if step.symbol not in quantized:
                return step
            read.add(step.symbol)
            return Call((step.result,), _reader(step.symbol), ())
        blocks = {  # Branches and loops hold steps.
            field.name: block(value)
            for field in dataclasses.fields(step)
            if hasattr(value := getattr(step, field.name), "steps")
        }
        return dataclasses.replace(step, **blocks) if blocks else step

    def block(holder: Any) -> Any:
        return dataclasses.replace(holder, steps=tuple(replaced(step) for step in holder.steps))

    return tuple(block(procedure) for procedure in procedures), read


def _reader(symbol: str) -> str:
    return f"dequantize{symbol}"  # Symbols of globals have dots, those of users' functions do not.


class _Dequantize(torch.nn.Module):
    def __init__(self, stored: StoredWeight) -> None:
        super().__init__()
        self.register_buffer("data", stored.data)
        self.register_buffer("scales", stored.scales)
        self._rows, self._dtype = stored.shape[0], stored.dtype

    def forward(self) -> torch.Tensor:
        return dequantize(self.data, self.scales, self._rows, self._dtype)  # type: ignore[arg-type]
