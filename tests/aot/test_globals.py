# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ruff: noqa: B008  defaults of procedures are their signatures
"""Module state from the class body to calls: every form of a global, read, stored and shared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import shark_turbine.aot as aot

torch.manual_seed(2)
A = aot.AbstractTensor


class Tied(torch.nn.Module):
    """An embedding whose weight is the projection's."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(6, 4)
        self.project = torch.nn.Linear(4, 6, bias=False)
        self.project.weight = self.embed.weight
        self.register_buffer("scale", torch.full((4,), 2.0))
        self.register_buffer("unused", torch.zeros(3))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.project(self.embed(ids) * self.scale)


TIED = Tied()
NORM = torch.nn.BatchNorm1d(3)
START = torch.arange(4.0)


class StateModule(aot.CompiledModule):
    params = aot.export_parameters(TIED)
    buffers = aot.export_buffers(TIED)
    norm = aot.export_buffers(NORM, mutable=True)
    inline = aot.export_global(START, mutable=True)
    named = aot.export_global(np.arange(3, dtype=np.int16), name="table")
    zero = aot.export_global(A(2, 2), mutable=True)
    blank = aot.export_global(A(3), mutable=True, uninitialized=True)
    count = aot.export_global(aot.AbstractI64, mutable=True)
    rate = aot.export_global(0.5, mutable=True)
    flag = aot.export_global(True, mutable=True)
    small = aot.export_global(aot.AbstractI32, mutable=True)
    state = aot.export_global_tree(
        {"h": torch.zeros(2), "layers": [A(2), torch.ones(2)]}, mutable=True
    )

    run_tied = aot.jittable(TIED)
    run_norm = aot.jittable(NORM.forward)

    @aot.jittable
    def add(a: Any, b: Any) -> Any:
        return a + b

    def tied(self, ids=A(5, dtype=torch.int64)):
        return self.run_tied(ids)

    def both_names(self):
        return self.params["embed.weight"], self.params["project.weight"]

    def names(self):
        return dict(self.params.items())

    def get(self):
        return self.inline

    def set(self, value=aot.abstractify(START)):
        self.inline = value

    def accumulate(self, value=aot.abstractify(inline)):
        before = self.inline
        self.inline = self.add(self.inline, value)
        return before, self.inline

    def table(self):
        return self.named

    def zeros(self):
        return self.zero

    def fill(self, value=A(3)):
        self.blank = value
        return self.blank

    def step(self, by=aot.AbstractI64):
        self.count = self.count + by
        return self.count

    def reset(self):
        self.count.set(0)
        self.rate = 1
        self.flag = False
        self.small = -7
        return self.rate, self.flag, self.small

    def swap(self, h=A(2)):
        self.state = {"h": h, "layers": [self.state["layers"][1], self.state["h"]]}
        return self.state

    def one_leaf(self, x=A(2)):
        self.state["layers"][0] = x
        self.state["h"].set(x)
        return self.state["layers"], len(self.state), "h" in self.state

    def train(self, x=A(8, 3)):
        return self.run_norm(x)

    def statistics(self):
        return self.norm["running_mean"], self.norm["num_batches_tracked"]

    def scalars_in(self, x=A(4)):
        return self.add(x, self.rate)


@pytest.fixture(scope="module")
def state(build: Any) -> Any:
    return build(StateModule)


@pytest.fixture
def m(state: Any) -> Any:
    """A fresh instance: its globals have their initial values."""
    del state.__dict__["loaded"]
    return state.loaded


@pytest.fixture(autouse=True)
def _loaded(state: Any) -> None:
    assert state.loaded


def same(got: Any, expected: Any) -> None:
    torch.testing.assert_close(got, expected)


def test_tied_weights_are_one_global_with_two_names(state: Any, m: Any) -> None:
    ids = torch.tensor([0, 5, 2, 2, 1])
    same(m.tied(ids), TIED(ids).detach())
    weight = TIED.embed.weight.detach()
    for value in m.both_names():
        same(value, weight)
    assert list(m.names()) == ["embed.weight", "project.weight"]
    assert state.mlir.count("util.global private @_params.embed.weight") == 1
    assert "@_params.project.weight" not in state.mlir
    assert "@_buffers.unused" in state.mlir


def test_symbols_come_first_in_declaration_order(state: Any) -> None:
    lines = [line.split()[1:] for line in state.program.splitlines() if " global " in line[:9]]
    symbols = [next(word for word in words if word[0] == "@").rstrip(":") for words in lines]
    assert symbols == [
        "@_params.embed.weight",
        "@_buffers.scale",
        "@_buffers.unused",
        "@_norm.running_mean",
        "@_norm.running_var",
        "@_norm.num_batches_tracked",
        "@_inline.global",
        "@_named.table",
        "@_zero.global",
        "@_blank.global",
        "@_count.global",
        "@_rate.global",
        "@_flag.global",
        "@_small.global",
        "@_state.h",
        "@_state.layers.0",
        "@_state.layers.1",
    ]
    assert state.mlir.index("util.global") < state.mlir.index("func.func")


def test_reading_storing_and_reading_again(m: Any) -> None:
    same(m.get(), START)
    m.set(START * 2)
    before, after = m.accumulate(START)
    same(before, START * 2)
    same(after, START * 3)
    same(m.get(), START * 3)


def test_initial_values_of_every_form(m: Any) -> None:
    same(m.table(), torch.arange(3, dtype=torch.int16))
    same(m.zeros(), torch.zeros(2, 2))
    same(m.fill(torch.ones(3)), torch.ones(3))


def test_numbers(m: Any) -> None:
    assert m.step(5) == 5
    assert m.step(-2) == 3
    assert m.reset() == (1.0, False, -7)
    assert m.step(1) == 1
    same(m.scalars_in(START), START + 1)


def test_trees_are_assigned_by_structure(m: Any) -> None:
    got = m.swap(torch.full((2,), 7.0))
    same(got["h"], torch.full((2,), 7.0))
    same(got["layers"][0], torch.ones(2))
    same(got["layers"][1], torch.zeros(2))
    layers, length, has = m.one_leaf(torch.full((2,), 9.0))
    same(layers[0], torch.full((2,), 9.0))
    same(layers[1], torch.zeros(2))
    assert (length, has) == (2, True)


def test_a_module_in_training_updates_its_buffers(m: Any) -> None:
    norm = torch.nn.BatchNorm1d(3)
    norm.load_state_dict(NORM.state_dict())
    for seed in (0, 1):
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(seed))
        same(m.train(x), norm(x).detach())
    mean, batches = m.statistics()
    same(mean, norm.running_mean)
    assert batches == 2
    assert NORM.num_batches_tracked == 0


def test_two_instances_have_states_of_their_own(state: Any, m: Any) -> None:
    m.set(START * 5)
    del state.__dict__["loaded"]
    same(state.loaded.get(), START)
    same(m.get(), START * 5)


def test_state_through_stock_iree(state: Any) -> None:
    stock = state.stock
    stock.set(np.full(4, 3.0, np.float32))
    assert stock.get().to_host().tolist() == [3.0] * 4
    assert stock.step(4) == 4
    assert stock.step(4) == 8


def test_external_values_are_named_parameters() -> None:
    class WeightsModule(aot.CompiledModule):
        params = aot.export_parameters(
            TIED, external=True, name_mapper=lambda name: name.upper() if "embed" in name else None
        )
        other = aot.export_global(
            A(3), external=True, external_scope="adapters", name_mapper=lambda name: None
        )

        def get(self):
            return self.params["project.weight"], self.other

    class PlainModule(aot.CompiledModule):
        params = aot.export_parameters(torch.nn.Linear(2, 2), external=True)

        def get(self):
            return self.params["bias"]

    mlir = str(aot.CompiledModule.get_mlir_module(WeightsModule()))
    assert '= #flow.parameter.named<"model"::"PARAMS.EMBED.WEIGHT"> : tensor<6x4xf32>' in mlir
    assert '= #flow.parameter.named<"adapters"::"other.global"> : tensor<3xf32>' in mlir
    assert "dense_resource" not in mlir
    plain = str(aot.CompiledModule.get_mlir_module(PlainModule()))
    assert '#flow.parameter.named<"model"::"params.bias"> : tensor<2xf32>' in plain


def test_uninitialized_and_zero_in_mlir(state: Any) -> None:
    assert "@_blank.global = #util.uninitialized : tensor<3xf32>" in state.mlir
    assert "mutable @_zero.global = dense<0.000000e+00> : tensor<2x2xf32>" in state.mlir


def test_a_captured_tensor_that_is_exported_is_read_from_its_global(build: Any) -> None:
    table = torch.arange(6.0)

    class TableModule(aot.CompiledModule):
        table_state = aot.export_global(table, mutable=True)

        @aot.jittable
        def first() -> Any:
            return table[:2]

        def get(self):
            return self.first()

        def set(self, value=A(6)):
            self.table_state = value

    built = build(TableModule)
    assert "util.global.load @_table_state.global" in built.mlir
    same(built.loaded.get(), table[:2])
    built.loaded.set(table * 10)
    same(built.loaded.get(), table[:2] * 10)


class SnapshotModule(aot.CompiledModule):
    saved = aot.export_global(torch.zeros(2), mutable=True)
    value = aot.export_global(torch.ones(2), mutable=True)
    saved_count = aot.export_global(0, mutable=True)
    count = aot.export_global(1, mutable=True)

    copy = aot.jittable(lambda x: x.clone())
    add = aot.jittable(lambda x, y: x + y)

    def save(self):
        self.saved = self.copy(self.value)
        self.saved_count = self.count

    def bump(self, x=A(2)):
        self.value = self.add(self.value, x)
        self.count = self.count + 1

    def swap(self):
        self.saved, self.value = self.value, self.saved
        return self._both()

    def get_both(self):
        return self._both()

    def _both(self) -> Any:
        return self.saved, self.value, self.saved_count, self.count


class Delay(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("previous", torch.zeros(3))
        self.register_buffer("current", torch.ones(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.previous.copy_(self.current)
        self.current.add_(x)
        return self.previous + 0


def test_a_saved_value_does_not_follow_its_source(build: Any) -> None:
    # IREE's global folding takes two globals for one where every store of the one is a load of the
    # other; the store in the artifact is one that it cannot see through.
    m = build(SnapshotModule).loaded
    for expected in (1, 2):
        m.save()
        m.bump(torch.ones(2))
        saved, value, saved_count, count = m.get_both()
        same(saved, torch.full((2,), float(expected)))
        same(value, torch.full((2,), float(expected + 1)))
        assert (saved_count, count) == (expected, expected + 1)
    saved, value, *_ = m.swap()
    same((saved, value), (torch.full((2,), 3.0), torch.full((2,), 2.0)))
    same(m.get_both()[1], torch.full((2,), 2.0))


def test_a_buffer_that_keeps_another_ones_old_value(build: Any) -> None:
    m, eager = build(Delay(), torch.ones(3)).loaded, Delay()
    for _ in range(3):
        same(m.main(torch.ones(3)), eager(torch.ones(3)))


def test_a_subclass_replaces_a_global() -> None:
    class BaseModule(aot.CompiledModule):
        value = aot.export_global(torch.zeros(2))

        def get(self):
            return self.value

    class DerivedModule(BaseModule):
        value = aot.export_global(torch.ones(3))

    program = str(aot.CompiledModule.get_program(DerivedModule()))
    assert "global @_value.global: f32[3] = inline" in program
    assert "f32[2]" not in program
