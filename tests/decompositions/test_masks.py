# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Reading through boolean masks: the number of results is known only at run time."""

from __future__ import annotations

import pytest
import torch

from shark_turbine import aot, runtime
from shark_turbine.errors import ContractError

X = torch.arange(20.0).reshape(5, 4) - 7
ROWS = X[:, 0] > 0


class Masks(aot.CompiledModule):
    elements = aot.jittable(lambda x: x[x > 0])
    rows = aot.jittable(lambda x, mask: x[mask] * 2)
    columns = aot.jittable(lambda x: x[:, x[0] > -6])
    mixed = aot.jittable(lambda x, mask, column: x[mask, column])
    add = aot.jittable(lambda a, b: a + b)

    def by_element(self, x=aot.AbstractTensor(None, 4)):
        return self.elements(x)

    def by_row(self, x=aot.AbstractTensor("n", 4), mask=aot.AbstractTensor("n", dtype=torch.bool)):
        return self.rows(x, mask)

    def by_column(self, x=aot.AbstractTensor(5, 4)):
        return self.columns(x)

    def by_both(
        self,
        x=aot.AbstractTensor(5, 4),
        mask=aot.AbstractTensor(5, dtype=torch.bool),
        column=aot.AbstractTensor(1, dtype=torch.int64),
    ):
        return self.mixed(x, mask, column)

    def all_rows(
        self, x=aot.AbstractTensor("n", 4), mask=aot.AbstractTensor("n", dtype=torch.bool)
    ):
        kept = self.rows(x, mask)
        return self.add(kept, x, constraints=[kept.dynamic_dim(0) == x.dynamic_dim(0)])


@pytest.fixture(scope="module")
def masks() -> runtime.LoadedModule:
    return runtime.load(aot.export(Masks).compile(), device="local-sync")


def test_masks_select_as_in_eager(masks: runtime.LoadedModule) -> None:
    column = torch.tensor([2])
    assert torch.equal(masks.by_element(X), X[X > 0])
    assert torch.equal(masks.by_element(X[:1]), X[:1][X[:1] > 0])
    assert torch.equal(masks.by_row(X, ROWS), X[ROWS] * 2)
    assert torch.equal(masks.by_column(X), X[:, X[0] > -6])
    assert torch.equal(masks.by_both(X, ROWS, column), X[ROWS, column])


def test_a_constraint_on_a_result_is_checked_where_it_is_said(
    masks: runtime.LoadedModule,
) -> None:
    everything = torch.ones(5, dtype=torch.bool)
    assert torch.equal(masks.all_rows(X, everything), X * 3)
    with pytest.raises(ContractError, match=r"rows\(\.\.\.\)\.shape\[0\] must equal x\.shape\[0\]"):
        masks.all_rows(X, ROWS)


class Scattered(aot.CompiledModule):
    write = aot.jittable(lambda x, mask, source: x.masked_scatter(mask, source))

    def wide(
        self,
        x=aot.AbstractTensor("n", 4),
        mask=aot.AbstractTensor("n", 1, dtype=torch.bool),
        source=aot.AbstractTensor("m"),
    ):
        return self.write(x, mask, source)


def test_masked_scatter_takes_elements_in_turn_and_refuses_too_few() -> None:
    module = runtime.load(aot.export(Scattered).compile(), device="local-sync")
    mask, source = ROWS[:, None], torch.arange(100.0, 112.0)
    assert torch.equal(module.wide(X, mask, source), X.masked_scatter(mask, source))
    nothing = torch.zeros_like(mask)
    assert torch.equal(module.wide(X, nothing, source[:0]), X)
    with pytest.raises(ContractError, match="the mask holds more often"):
        module.wide(X, mask, source[:3])


def test_masked_scatter_has_eagers_gradients() -> None:
    def step(x: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        return (x.masked_scatter(ROWS[:, None], source) * X).sum()

    compiled = torch.compile(step, backend="turbine_cpu", options={"fallback": "error"})
    gradients = []
    for function in (step, compiled):
        x, source = X.clone().requires_grad_(), torch.arange(15.0).requires_grad_()
        function(x, source).backward()
        gradients.append((x.grad, source.grad))
    assert torch.equal(gradients[0][0], gradients[1][0])
    assert torch.equal(gradients[0][1], gradients[1][1])
