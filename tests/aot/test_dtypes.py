# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The whole dtype table: each row as argument, state and result of a compiled function, or refused by name."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import shark_turbine.aot as aot
from shark_turbine import dtypes
from shark_turbine.errors import UnsupportedTypeError


def samples(dtype: torch.dtype) -> torch.Tensor:
    """Return eight values of a dtype, the extremes among them."""
    if dtype is torch.bool:
        return torch.tensor([True, False, False, True] * 2)
    if dtype.is_complex:
        return torch.complex(torch.linspace(-2, 2, 8), torch.linspace(3, -3, 8)).to(dtype)
    if dtype.is_floating_point:
        values = [0.5, 1.0, 2.0, 4.0, 0.25, 8.0, 1.0, 2.0]
        if dtype is not torch.float8_e8m0fnu:
            values[:3] = [0.0, -1.5, -2.0]
        return torch.tensor(values).to(dtype)
    info = torch.iinfo(dtype)
    # Through bytes: torch has few operations on wide unsigned integers.
    return torch.tensor([info.min, info.max, 1, 2, 3, 7, 100, 0], dtype=dtype)


def bits(tensor: torch.Tensor) -> list[int]:
    return tensor.contiguous().view(torch.uint8).flatten().tolist()


def flipped(tensor: torch.Tensor) -> torch.Tensor:
    """Return the values in the other order; torch cannot flip every dtype, but bytes it can."""
    rows = tensor.view(torch.uint8).reshape(len(tensor), -1)
    return rows.flip(0).flatten().view(tensor.dtype)


def module_of(dtype: torch.dtype) -> type:
    values = samples(dtype)

    class DTypeModule(aot.CompiledModule):
        state = aot.export_global(values, mutable=True)
        fixed = aot.export_global_tree(
            [values.clone(), values.repeat(400), values[:0].reshape(0, 3)]
        )

        @aot.jittable
        def pick(x: Any) -> Any:
            return x.reshape(2, 4)[1]

        def echo(self, x=aot.AbstractTensor(8, dtype=dtype)):
            return x

        def move(self, x=aot.AbstractTensor(8, dtype=dtype)):
            return self.pick(x)

        def swap(self, x=aot.AbstractTensor(8, dtype=dtype)):
            old = self.state
            self.state = x
            return old

        def get(self):
            return self.fixed

    return DTypeModule


STORED = [row for row in dtypes.TABLE if row.name != "complex128"]


@pytest.mark.parametrize("row", STORED, ids=str)
def test_a_dtype_travels_bit_for_bit(build: Any, row: dtypes.DType) -> None:
    values = samples(row.torch)
    module = build(module_of(row.torch)).loaded
    other = flipped(values)
    fixed = module.get()
    for got, expected in (
        (module.echo(values), values),
        (module.move(values), values[4:]),
        (fixed[0], values),
        (fixed[1], values.repeat(400)),
        (fixed[2], values[:0].reshape(0, 3)),
        (module.swap(other), values),
        (module.swap(values), other),
    ):
        assert got.dtype == row.torch
        assert got.shape == expected.shape
        assert bits(got) == bits(expected)


def test_complex128_travels_but_is_not_stored(build: Any) -> None:
    values = samples(torch.complex128)

    class PassedModule(aot.CompiledModule):
        memory = aot.export_global(
            aot.AbstractTensor(8, dtype=torch.complex128), mutable=True, uninitialized=True
        )

        def keep(self, x=aot.AbstractTensor(8, dtype=torch.complex128)):
            self.memory = x
            return x

        def get(self):
            return self.memory

    module = build(PassedModule).loaded
    assert bits(module.keep(values)) == bits(module.get()) == bits(values)

    class StoredModule(aot.CompiledModule):
        weight = aot.export_global(values)

    class CapturedModule(aot.CompiledModule):
        def get(self):
            return aot.jittable(lambda: values)()

    for refused, name in ((StoredModule, "@_weight.global"), (CapturedModule, "")):
        with pytest.raises(UnsupportedTypeError, match=f"{name}.*complex128"):
            refused()
