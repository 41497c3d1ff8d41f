# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Declarations of state, before any module exists."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import shark_turbine.aot as aot
from shark_turbine.errors import DeclarationError, UnsupportedTypeError

A = aot.AbstractTensor


def test_a_declared_tree_is_indexed_in_the_body() -> None:
    linear = torch.nn.Linear(2, 3)
    declared = aot.export_parameters(linear)
    assert list(declared) == list(declared.keys()) == ["weight", "bias"]
    assert len(declared) == 2
    assert declared["weight"].type == A(3, 2)
    assert [key for key, _ in declared.items()] == ["weight", "bias"]


def test_numpy_values_are_tensors() -> None:
    assert aot.export_global(np.float16(2)).type == A(dtype=torch.float16)
    assert aot.export_global(np.zeros((2, 3), np.uint8)).type == A(2, 3, dtype=torch.uint8)


def test_tied_parameters_have_two_keys_and_one_symbol() -> None:
    model = torch.nn.ModuleDict({"a": torch.nn.Linear(2, 2), "b": torch.nn.Linear(2, 2)})
    model["b"].weight = model["a"].weight

    class TiedModule(aot.CompiledModule):
        params = aot.export_parameters(model)

    member: Any = TiedModule._spec.members["params"]
    assert list(member.structure) == ["a.weight", "a.bias", "b.weight", "b.bias"]
    assert member.structure["a.weight"] is member.structure["b.weight"]
    assert len(TiedModule._spec.globals()) == 3


@pytest.mark.parametrize(
    "options",
    [
        {"uninitialized": True},
        {"uninitialized": True, "mutable": False},
        {"uninitialized": True, "mutable": True, "external": True},
        {"external_scope": "s"},
        {"name_mapper": str},
        {"external": False, "name_mapper": str},
    ],
)
def test_options_that_contradict(options: dict[str, Any]) -> None:
    for declare in (aot.export_global, aot.export_global_tree):
        with pytest.raises(DeclarationError):
            declare(A(2), **options)


@pytest.mark.parametrize("value", ["text", None, [1], {"a": 1}, object()])
def test_what_is_no_single_value(value: object) -> None:
    with pytest.raises(UnsupportedTypeError):
        aot.export_global(value)


def test_what_is_no_module() -> None:
    for declare in (aot.export_parameters, aot.export_buffers):
        with pytest.raises(DeclarationError, match=r"torch\.nn\.Module"):
            declare({"w": torch.zeros(2)})  # type: ignore[arg-type]
