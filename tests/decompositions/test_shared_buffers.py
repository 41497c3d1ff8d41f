# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Two operations of one kind in one program: the compiler must not write both into one buffer.

It makes equal tensors once, such as the zeros that two writes start from, and writes in place.
"""

from __future__ import annotations

import pytest
import torch

from shark_turbine import aot, runtime

X, Y = torch.randn(33, 4), torch.randn(33, 4)
ORDER = torch.randperm(33)
WIDE = ORDER[:, None].expand(33, 4).contiguous()
zeros = torch.zeros_like

PROGRAMS = {
    "index_put": lambda x, y, order, wide: (
        zeros(x).index_put((order,), x),
        zeros(x).index_put((order.flip(0),), y),
    ),
    "accumulate": lambda x, y, order, wide: (
        zeros(x).index_put((order,), x, accumulate=True),
        zeros(x).index_put((order,), y, accumulate=True),
    ),
    "scatter": lambda x, y, order, wide: (
        zeros(x).scatter(0, wide, x),
        zeros(x).scatter(-2, wide, y),
    ),
    "scatter_add": lambda x, y, order, wide: (
        zeros(x).scatter_add(0, wide, x),
        zeros(x).scatter_add(0, wide, y),
    ),
    "slice_scatter": lambda x, y, order, wide: (
        zeros(x).slice_scatter(x[:5], 0, 3, 8),
        zeros(x).slice_scatter(y[:5], 0, 8, 13),
    ),
    "index_add": lambda x, y, order, wide: (
        zeros(x).index_add(0, order, x),
        zeros(x).index_add(0, order, y),
    ),
    "sort": lambda x, y, order, wide: (*torch.sort(x, stable=True), *torch.sort(y, stable=True)),
    "topk": lambda x, y, order, wide: (*torch.topk(x, 2), *torch.topk(y, 2), *torch.topk(x + y, 2)),
}


@pytest.mark.parametrize("is_dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_twice_in_one_program(name, is_dynamic):
    rows = torch.export.Dim("rows", min=14)
    program = PROGRAMS[name]
    output = aot.export(
        program, X, Y, ORDER, WIDE, dynamic_shapes=[{0: rows}] * 4 if is_dynamic else None
    )
    results = runtime.load(output.compile()).main(X, Y, ORDER, WIDE)
    for result, expected in zip(results, program(X, Y, ORDER, WIDE), strict=True):
        torch.testing.assert_close(result, expected)


def test_selections_from_long_rows():
    def program(x, y):
        return *torch.topk(x, 3), *torch.topk(y, 3), *torch.topk(x * y, 3)

    x, y = torch.randn(4, 3000), torch.randn(4, 3000)
    results = runtime.load(aot.export(program, x, y).compile()).main(x, y)
    for result, expected in zip(results, program(x, y), strict=True):
        torch.testing.assert_close(result, expected)
