# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What quantizing cost and saved: `print(report)` shows a table."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from shark_turbine import dtypes
from shark_turbine.quantized import dequantize_matrix

from .stored import StoredWeight


@dataclass(frozen=True, slots=True)
class QuantizedWeight:
    """One weight: sizes in bytes, errors of its values.

    Attributes:
        name: its qualified name; the names of a tied weight stand side by side.
        shape: rows and columns.
        dtype: what it was before.
        bits: 8 or 4.
        group_size: how many neighbouring columns share a scale; None is a whole row.
        bytes_before: its size in its dtype.
        bytes_after: the size of its integers, scales and padding.
        max_error: the largest `|w - q|`.
        relative_error: `|w - q| / |w|` in the Frobenius norm; 0 for a weight of zeros.
    """

    name: str
    shape: tuple[int, int]
    dtype: torch.dtype
    bits: int
    group_size: int | None
    bytes_before: int
    bytes_after: int
    max_error: float
    relative_error: float

    @property
    def sqnr(self) -> float:
        """The relative error as a signal-to-quantization-noise ratio in dB."""
        return math.inf if self.relative_error == 0 else -20 * math.log10(self.relative_error)


@dataclass(frozen=True, slots=True)
class QuantizationReport:
    """What quantizing a model did to its weights.

    Attributes:
        weights: each quantized weight.
        bytes_kept: how many bytes of parameters stayed as they were.
    """

    weights: tuple[QuantizedWeight, ...]
    bytes_kept: int

    @property
    def bytes_before(self) -> int:
        """The size of all parameters, tied ones once."""
        return self.bytes_kept + sum(weight.bytes_before for weight in self.weights)

    @property
    def bytes_after(self) -> int:
        """The size of all parameters, integers, scales and padding included."""
        return self.bytes_kept + sum(weight.bytes_after for weight in self.weights)

    def __str__(self) -> str:
        head = ("weight", "shape", "stored", "before", "after", "max error", "relative", "SQNR")
        rows = [head, *(_row(weight) for weight in self.weights)]
        rows.append(
            (
                "kept as they were",
                "",
                "",
                _size(self.bytes_kept),
                _size(self.bytes_kept),
                "",
                "",
                "",
            )
        )
        ratio = f"{self.bytes_after / self.bytes_before:.1%}"
        total = ("all", "", ratio, _size(self.bytes_before), _size(self.bytes_after), "", "", "")
        rows.append(total)
        widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])])
            for row in rows
        ]
        return "\n".join(line.rstrip() for line in lines)


def measure(
    weight: torch.Tensor, stored: StoredWeight, name: str, group_size: int | None
) -> QuantizedWeight:
    """Compare a weight with what is stored of it."""
    with torch.no_grad():
        original = weight.detach().float()
        difference = original - dequantize_matrix(stored.data, stored.scales, stored.shape[0])
        norm = float(original.norm())
        return QuantizedWeight(
            name=name,
            shape=stored.shape,
            dtype=stored.dtype,
            bits=stored.bits,
            group_size=group_size,
            bytes_before=weight.nbytes,
            bytes_after=stored.data.nbytes + stored.scales.nbytes,
            max_error=float(difference.abs().max()),
            relative_error=float(difference.norm()) / norm if norm else 0.0,
        )


def _row(weight: QuantizedWeight) -> tuple[str, ...]:
    group = "" if weight.group_size is None else f"/{weight.group_size}"
    return (
        weight.name,
        "x".join(map(str, weight.shape)),
        f"{dtypes.from_torch(weight.dtype)} > i{weight.bits}{group}",
        _size(weight.bytes_before),
        _size(weight.bytes_after),
        f"{weight.max_error:.2g}",
        f"{weight.relative_error:.2%}",
        f"{weight.sqnr:.1f} dB",
    )


def _size(count: int) -> str:
    size, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.1f} {unit}" if unit != "B" else f"{count} B"
