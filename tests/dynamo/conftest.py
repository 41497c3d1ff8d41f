# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A fresh TorchDynamo for each test, and the comparison with eager."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch

from shark_turbine import trees
from shark_turbine.errors import FallbackWarning

BACKEND = "turbine_cpu"


@pytest.fixture(autouse=True)
def _fresh_dynamo():
    torch.manual_seed(0)
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compiled(function: Any, **keywords: Any) -> Any:
    """Compile with the backend by its name, as users do."""
    return torch.compile(function, backend=BACKEND, **keywords)


def same(actual: Any, expected: Any, **tolerances: Any) -> None:
    """Compare structures of tensors: types, dtypes, values, strides of dense tensors."""
    left, right = trees.leaves_with_paths(actual), trees.leaves_with_paths(expected)
    assert [leaf.path for leaf in left] == [leaf.path for leaf in right]
    for given, wanted in zip(left, right, strict=True):
        if not isinstance(wanted.value, torch.Tensor):
            assert type(given.value) is type(wanted.value), given.path
            assert given.value == wanted.value, given.path
            continue
        torch.testing.assert_close(given.value, wanted.value, equal_nan=True, **tolerances)
        if torch._prims_common.is_non_overlapping_and_dense_or_false(wanted.value):
            assert given.value.stride() == wanted.value.stride(), given.path


def check(
    function: Callable[..., Any], *args: Any, falls_back: bool = False, **keywords: Any
) -> Any:
    """Call a function compiled and in eager, with copies of the arguments; compare both after it.

    Returns the compiled function.
    """
    eager_args, given_args = copy.deepcopy(args), copy.deepcopy(args)
    expected = function(*eager_args)
    wrapped = compiled(function, **keywords)
    with warnings.catch_warnings():
        if falls_back:
            warnings.simplefilter("ignore", FallbackWarning)
        actual = wrapped(*given_args)
    same(actual, expected)
    same(given_args, eager_args)
    return wrapped
