# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""One weight as it is stored, and the choice of weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from shark_turbine.errors import DeclarationError
from shark_turbine.quantized import LARGEST, TILE, quantize_matrix

Filter = Callable[[torch.Tensor, str], bool]
_DTYPES = {torch.float32, torch.float16, torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Options:
    """The arguments of `aot.quantize`."""

    bits: int
    group_size: int | None
    filter_fn: Filter | None

    @classmethod
    def checked(cls, bits: int, group_size: int | None, filter_fn: Filter | None) -> Options:
        """Return the options.

        Raises:
            DeclarationError: there is no such number of bits or group size.
        """
        if bits not in LARGEST:
            raise DeclarationError(
                f"there is no quantization to {bits!r} bits",
                where="aot.quantize",
                got=f"bits={bits!r}",
                expected="bits=8 or bits=4",
                fix="aot.quantize(model, bits=8)",
            )
        if group_size is not None and (type(group_size) is not int or group_size < 1):
            raise DeclarationError(
                "a group is a number of columns",
                where="aot.quantize",
                got=f"group_size={group_size!r}",
                expected="a positive int, or None for one scale for each row",
                fix=f"aot.quantize(model, bits={bits}, group_size=64)",
            )
        return cls(bits, group_size, filter_fn)

    def accepts(self, weight: torch.Tensor, names: Sequence[str]) -> bool:
        """Whether to quantize a weight that has these names."""
        if weight.dim() != 2 or weight.dtype not in _DTYPES or weight.numel() == 0:
            return False
        rows, columns = weight.shape
        tiles = -(-rows // TILE)
        groups = 1 if self.group_size is None else -(-columns // self.group_size)
        stored = tiles * TILE * (columns * self.bits // 8 + 4 * groups)
        if stored >= weight.numel() * weight.element_size():
            return False
        return self.filter_fn is None or all(self.filter_fn(weight, name) for name in names)


@dataclass(frozen=True, slots=True, eq=False)
class StoredWeight:
    """A quantized weight: see `shark_turbine/quantized.py` for the form of `data` and `scales`."""

    data: torch.Tensor
    scales: torch.Tensor
    shape: tuple[int, int]
    dtype: torch.dtype
    bits: int

    @property
    def suffixes(self) -> tuple[str, str]:
        """Return what follows the weight's name in the names of `data` and `scales`."""
        return f".q{self.bits}", ".scales"


def store(weight: torch.Tensor, name: str, options: Options) -> StoredWeight:
    """Quantize one weight `[rows, columns]` of dtype f32, f16 or bf16.

    Raises:
        DeclarationError: the weight cannot be quantized; the message has its name.
    """
    rows, columns = weight.shape
    group = options.group_size
    if group is not None and columns % group:
        divisors = [size for size in range(min(group, columns), 0, -1) if columns % size == 0]
        raise DeclarationError(
            f"{name} has {columns} columns, which groups of {group} do not fill",
            where="aot.quantize",
            got=f"a weight of shape {[rows, columns]}, group_size={group}",
            expected="a group size that divides the columns of every quantized weight",
            fix=f"group_size={divisors[0]}, or leave it out with filter_fn=lambda weight, name: "
            f"weight.shape[1] % {group} == 0",
        )
    if weight.is_meta:
        raise DeclarationError(
            f"{name} has no data",
            where="aot.quantize",
            got="a tensor on the meta device",
            expected="a weight with its values",
            fix="load the checkpoint before quantizing",
        )
    if not bool(torch.isfinite(weight).all()):
        raise DeclarationError(
            f"{name} holds NaN or infinity: no scale fits it",
            where="aot.quantize",
            got=f"{int((~torch.isfinite(weight)).sum())} of {weight.numel()} values are not finite",
            expected="finite weights",
            fix="mend the checkpoint, or leave the weight out with filter_fn=",
        )
    data, scales = quantize_matrix(weight, options.bits, group)
    return StoredWeight(data, scales, (rows, columns), weight.dtype, options.bits)


def nothing_to_quantize(got: str) -> DeclarationError:
    """Return the error for a program without a weight to quantize."""
    return DeclarationError(
        "there is nothing to quantize",
        where="aot.quantize",
        got=got,
        expected="weights of f32, f16 or bf16 that feed linear layers or embeddings, large enough to "
        "become smaller, and not refused by filter_fn",
        fix="look at the names that filter_fn gets: "
        "filter_fn=lambda weight, name: print(name, weight.shape) or True",
    )
