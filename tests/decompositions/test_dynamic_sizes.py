# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Operators whose own forms do not take dynamic sizes: compiled once, run at several."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.export import Dim
from torch.nn import functional as F

from shark_turbine import aot, runtime
from shark_turbine.errors import ContractError

ROWS, COLUMNS = Dim("rows", max=64), Dim("columns", max=64)
Arguments = tuple[Tensor, ...]


def split(x: Tensor) -> Tensor:
    first, second = x.transpose(0, 1).split([3, 1], dim=2)
    return first * second


def last_token(x: Tensor, positions: Tensor) -> Tensor:
    return x[torch.arange(x.shape[0]), positions]


def resized(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def resized_by_a_fraction(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=1.5, mode="bilinear", align_corners=False)


def pictures(rows: int, columns: int) -> Arguments:
    return (torch.rand(rows, 2, columns, 5),)


def tokens(rows: int, columns: int) -> Arguments:
    positions = torch.arange(rows) % columns
    return torch.rand(rows, columns, 4), torch.where(positions == 1, -1, positions)


CASES = {
    "split": (split, lambda r, c: (torch.rand(r, c, 4),), ({0: ROWS, 1: COLUMNS},)),
    "last_token": (last_token, tokens, ({0: ROWS, 1: COLUMNS}, {0: ROWS})),
    "resized_by_a_fraction": (resized_by_a_fraction, pictures, ({0: ROWS, 2: COLUMNS},)),
    "resized": (resized, pictures, ({0: ROWS, 2: COLUMNS},)),
}


@pytest.mark.parametrize("name", CASES)
def test_other_sizes(name: str) -> None:
    function, make, shapes = CASES[name]
    loaded = runtime.load(aot.export(function, *make(3, 7), dynamic_shapes=shapes).compile())
    for arguments in _sizes(make):
        torch.testing.assert_close(loaded.main(*arguments), function(*arguments))


def _sizes(make: Callable[[int, int], Any]) -> Iterator[Arguments]:
    yield from (make(rows, columns) for rows, columns in ((3, 7), (5, 4), (2, 9)))


@pytest.mark.parametrize("bad", [7, -8])
def test_each_index_is_held_to_its_own_dim(bad: int) -> None:
    arguments = tokens(3, 7)
    shapes = CASES["last_token"][2]
    loaded = runtime.load(aot.export(last_token, *arguments, dynamic_shapes=shapes).compile())
    arguments[1][1] = bad
    with pytest.raises(ContractError, match="index out of range in dimension 1"):
        loaded.main(*arguments)


@pytest.mark.parametrize("corners", [True, False])
@pytest.mark.parametrize("size", [(16, 16), (5, 12), (1, 3)])
def test_bilinear_to_a_size(size: tuple[int, int], corners: bool) -> None:
    def resize(x: Tensor) -> Tensor:
        return F.interpolate(x, size=size, mode="bilinear", align_corners=corners)

    x = torch.rand(2, 3, 8, 16)
    loaded = runtime.load(aot.export(resize, x).compile())
    torch.testing.assert_close(loaded.main(x), resize(x), rtol=1e-5, atol=1e-5)
