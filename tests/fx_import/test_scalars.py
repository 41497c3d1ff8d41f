# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Symbolic sizes: arithmetic on them agrees with Python's, and they are results and arguments."""

from __future__ import annotations

import math

import pytest
import torch
from torch.export import Dim

from shark_turbine.decompositions import prepare
from tests.ops import harness

FORMULAS = {
    "linear": lambda n, m: 2 * n + m - 3,
    "floor": lambda n, m: (n + 5) // 3,
    "negative_floor": lambda n, m: (n - 20) // 3,
    "mod": lambda n, m: (n - 20) % 7,
    "power": lambda n, m: n**2,
    "max": lambda n, m: torch.sym_max(n, 2 * m),
    "min": lambda n, m: torch.sym_min(n, m),
    "ceil": lambda n, m: math.ceil(n / 3),
    "product": lambda n, m: n * m,
    "negated": lambda n, m: -n,
}

ROOTS = {
    "root": lambda n: math.sqrt(n),
    "root_of_a_product": lambda n: math.sqrt(2 * n),
    "half_power": lambda n: n**0.5,
}


class _Root(torch.nn.Module):
    def __init__(self, root):
        super().__init__()
        self.root = root

    def forward(self, x):
        return x.sum() / self.root(x.shape[0])


def scalar_call(artifact, name, tensors):
    result = artifact._module[name](*[artifact._to_device(value) for value in tensors])
    return list(result) if isinstance(result, (list, tuple)) else [result]


@pytest.fixture(scope="module")
def artifact():
    n, m = Dim("n", min=4, max=500), Dim("m", min=4, max=500)
    x, y = torch.zeros(7), torch.zeros(5)
    programs = {}
    for name, formula in FORMULAS.items():
        programs[name] = harness.export(
            lambda x, y, formula=formula: formula(x.shape[0], y.shape[0]) + 0 * 1,
            (x, y),
            dynamic_shapes=({0: n}, {0: m}),
        )
    programs["size_to_tensor"] = harness.export(
        lambda x, y: (x.new_full((y.shape[0] // 2,), 3.0), x.shape[0] / 2, x.sum() * y.shape[0]),
        (x, y),
        dynamic_shapes=({0: n}, {0: m}),
    )
    for name, root in ROOTS.items():
        # Strict: without TorchDynamo the functions of `math` take the size of the example.
        program = torch.export.export(_Root(root), (x,), dynamic_shapes={"x": {0: n}}, strict=True)
        programs[name] = prepare(program)
    return harness.Artifact(harness.compile_module(harness.import_all(programs)))


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("sizes", [(7, 5), (4, 9), (31, 4)])
def test_formula(artifact, name, sizes):
    tensors = [torch.zeros(size) for size in sizes]
    assert scalar_call(artifact, name, tensors) == [FORMULAS[name](*sizes)]


def test_size_in_a_shape_and_a_float(artifact):
    full, half, total = scalar_call(artifact, "size_to_tensor", [torch.ones(9), torch.ones(6)])
    assert full.to_host().tolist() == [3.0, 3.0, 3.0]
    assert half == 4.5
    assert total.to_host().tolist() == 54.0


@pytest.mark.parametrize("name", ROOTS)
def test_root_of_a_size(artifact, name):
    (mean,) = scalar_call(artifact, name, [torch.ones(9)])
    assert float(mean.to_host()) == pytest.approx(9 / ROOTS[name](9))
