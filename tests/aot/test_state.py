# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The state of compiled modules: names that users know, and every type that a global can have."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import iree.runtime as ireert
import numpy as np
import pytest
import safetensors.torch
import torch

import shark_turbine.aot as aot
import shark_turbine.runtime as rt
from shark_turbine import dtypes
from shark_turbine.errors import ParameterError, SaveError, StateError

# IREE's compiler cannot store complex128 in a module.
STORED = [row for row in dtypes.TABLE if row.torch != torch.complex128]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))


@pytest.fixture(scope="module")
def everything(build, model):
    """A module with a global of every kind."""
    of_each_dtype = {row.name: torch.ones(2, 3).to(row.torch) for row in STORED}
    wide_type = aot.AbstractTensor(2, dtype=torch.complex128)

    class Everything(aot.CompiledModule):
        cache = aot.export_global(aot.AbstractTensor(4, 3), mutable=True, uninitialized=True)
        constant = aot.export_global(torch.ones(2))
        params = aot.export_parameters(model, mutable=True)
        tree = aot.export_global_tree({"a": [torch.arange(3)]}, mutable=True)
        vectors = aot.export_global_tree(of_each_dtype, mutable=True)
        wide = aot.export_global(wide_type, mutable=True, uninitialized=True)
        flag = aot.export_global(True, mutable=True)
        position = aot.export_global(aot.AbstractIndex, mutable=True)
        i32 = aot.export_global(aot.AbstractI32, mutable=True)
        count = aot.export_global(5, mutable=True)
        f32 = aot.export_global(aot.AbstractF32, mutable=True)
        rate = aot.export_global(0.5, mutable=True)

        def step(self, x=aot.AbstractTensor(4, 3)):
            self.cache = x
            self.count = self.count + 1
            return self._sum(self.cache, self.constant, self.tree["a"][0])

        def read(self):
            return self.cache

        @aot.jittable
        def _sum(cache, constant, a):
            return cache.sum() + constant.sum() + a.sum()

    return build(Everything)


def new_module(built):
    return rt.load(built.vmfb, device="local-sync")


def same(first, second):
    """Tell whether two states are the same to the bit."""

    def bits(state):
        return {k: v.reshape(-1).view(torch.uint8).tolist() for k, v in state.items()}

    kinds = [{k: (v.dtype, v.shape) for k, v in state.items()} for state in (first, second)]
    return kinds[0] == kinds[1] and bits(first) == bits(second)


def test_names_dtypes_and_values(everything, model):
    state = new_module(everything).state_dict()
    assert [*state] == [
        "cache",
        *(f"params.{name}" for name, _ in model.named_parameters()),
        "tree.a.0",
        *(f"vectors.{row.name}" for row in STORED),
        *("wide", "flag", "position", "i32", "count", "f32", "rate"),
    ]
    assert state["cache"].shape == (4, 3)  # Its values are undefined.
    for name, parameter in model.named_parameters():
        assert torch.equal(state[f"params.{name}"], parameter)
    for row in STORED:
        assert state[f"vectors.{row.name}"].dtype == row.torch
        expected = torch.ones(2, 3).to(row.torch)
        assert same({"v": state[f"vectors.{row.name}"]}, {"v": expected})
    numbers = {name: state[name] for name in ("flag", "position", "i32", "count", "f32", "rate")}
    assert {name: (n.dtype, n.item()) for name, n in numbers.items()} == {
        "flag": (torch.bool, True),
        "position": (torch.int64, 0),
        "i32": (torch.int32, 0),
        "count": (torch.int64, 5),
        "f32": (torch.float32, 0.0),
        "rate": (torch.float64, 0.5),
    }


def test_every_type_is_loaded(everything):
    module = new_module(everything)
    changed = {}
    for name, value in module.state_dict().items():
        bits = value.reshape(-1).view(torch.uint8)
        bits = (torch.arange(bits.numel()) % 2).to(torch.uint8)  # Bits of a number, also of a bool.
        changed[name] = bits.view(value.dtype).reshape(value.shape)
    module.load_state_dict(changed)
    assert same(module.state_dict(), changed)
    assert torch.equal(module.read(), changed["cache"])
    fork = module.fork()
    module.reset()
    assert same(fork.state_dict(), changed)
    assert module.state_dict()["count"] == 5


def test_calls_and_state_agree(everything):
    module = new_module(everything)
    x = torch.randn(4, 3)
    torch.testing.assert_close(module.step(x), x.sum() + 2 + 3)
    assert torch.equal(module.state_dict()["cache"], x)
    module.load_state_dict(
        {"tree.a.0": np.array([10, 20, 30]), "count": np.int64(41)}, strict=False
    )
    torch.testing.assert_close(module.step(x), x.sum() + 2 + 60)
    assert module.state_dict()["count"] == 42


def test_a_fork_goes_its_own_way(everything):
    module = new_module(everything)
    x, y = torch.randn(4, 3), torch.randn(4, 3)
    module.step(x)
    fork = module.fork()
    module.step(y)
    assert torch.equal(fork.read(), x)
    assert torch.equal(module.read(), y)
    assert (module.state_dict()["count"], fork.state_dict()["count"]) == (7, 6)
    fork.reset()
    assert (module.state_dict()["count"], fork.state_dict()["count"]) == (7, 5)


def test_a_dtype_that_files_do_not_know(everything, tmp_path):
    module = new_module(everything)
    path = tmp_path / "state.safetensors"
    with pytest.raises(StateError, match=r"'wide': torch\.complex128"):
        module.save_state(path)
    assert not path.exists()


def test_a_state_in_a_file(build, tmp_path):
    class Numbers(aot.CompiledModule):
        cache = aot.export_global(torch.zeros(3, dtype=torch.bfloat16), mutable=True)
        flags = aot.export_global(torch.tensor([True, False]), mutable=True)
        small = aot.export_global(torch.ones(2).to(torch.float8_e4m3fn), mutable=True)
        n = aot.export_global(aot.AbstractI64, mutable=True)

        def step(self, x=aot.AbstractTensor(3, dtype=torch.bfloat16)):
            self.cache = x
            self.n = self.n + 1
            return self.n

    built = build(Numbers)
    path = tmp_path / "state.safetensors"
    module = new_module(built)
    module.step(torch.tensor([1.0, 2.0, 3.0], dtype=torch.bfloat16))
    module.save_state(path)
    assert [*tmp_path.iterdir()] == [path]
    other = new_module(built)
    assert other.load_state(path) == ([], [])
    assert same(other.state_dict(), module.state_dict())
    assert other.step(torch.zeros(3, dtype=torch.bfloat16)) == 2
    assert same(safetensors.torch.load_file(path), module.state_dict())
    safetensors.torch.save_file({"n": torch.tensor(40), "m": torch.tensor(1)}, path)
    assert other.load_state(path, strict=False).unexpected_keys == ["m"]
    assert other.state_dict()["n"] == 40
    with pytest.raises(StateError, match="missing: 'cache'"):
        other.load_state(path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ParameterError, match="cut short or damaged"):
        other.load_state(path)
    with pytest.raises(ParameterError, match="cannot be read"):
        other.load_state(tmp_path / "nothing.safetensors")
    with pytest.raises(SaveError, match="does not exist"):
        module.save_state(tmp_path / "nowhere" / "state.safetensors")


def test_the_exported_module_has_no_accessors(everything):
    assert "__state" not in str(everything.output.mlir_module)
    assert str(everything.output.mlir_module) == everything.mlir
    assert everything.loaded.functions == ("step", "read")


def test_a_module_without_mutable_globals_has_no_accessors(build):
    class Plain(aot.CompiledModule):
        w = aot.export_global(torch.ones(2))

        def run(self):
            return self.w

    built = build(Plain)
    assert built.vmfb.manifest["state"] == []
    assert b"__state" not in bytes(built.vmfb)
    assert built.loaded.state_dict() == {}
    assert torch.equal(built.loaded.fork().run(), torch.ones(2))


def test_stock_clients_run_a_vmfb_with_accessors(everything, tmp_path):
    x = np.ones((4, 3), np.float32)
    assert everything.stock.step(x).to_host() == 12 + 2 + 3
    path = tmp_path / "m.vmfb"
    everything.vmfb.save(path)
    tool = Path(sys.executable).parent / "iree-run-module"
    command = [tool, f"--module={path}", "--device=local-sync", "--function=step"]
    run = subprocess.run([*command, "--input=4x3xf32=1"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "f32=17" in run.stdout
    config = ireert.Config("local-sync")
    native = ireert.VmModule.wrap_buffer(config.vm_instance, everything.vmfb.map_memory())
    assert {"__state.get", "__state.set"} < set(native.function_names)


def test_a_lowered_module_keeps_its_state(build):
    class Counter(aot.CompiledModule):
        n = aot.export_global(aot.AbstractI64, mutable=True)
        unused = aot.export_global(torch.ones(2), mutable=True)

        def step(self):
            self.n = self.n + 1
            return self.n

    output = aot.export(Counter(import_to="full"))
    module = rt.load(output.compile(), device="local-sync")
    module.step()
    assert module.state_dict()["n"] == 1
    module.load_state_dict({"n": 7}, strict=False)
    assert module.step() == 8


@pytest.mark.filterwarnings("ignore::shark_turbine.errors.TrainingModeWarning")
def test_buffers_that_a_model_updates(build, model):
    twin = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)).train()
    twin.load_state_dict(model.state_dict())
    x = torch.randn(4, 3)
    module = build(twin, x).loaded
    buffers = [name for name, _ in twin.named_buffers()]
    assert sorted(module.state_dict()) == sorted(buffers)
    for _ in range(3):
        module.main(x)
        twin(x)
    for name, value in module.state_dict().items():
        torch.testing.assert_close(value, twin.state_dict()[name])
    module.load_state_dict({name: model.state_dict()[name] for name in buffers})
    torch.testing.assert_close(module.state_dict()["1.running_mean"], torch.zeros(2))


@pytest.mark.parametrize("device", ["local-sync", "local-task"])
def test_equal_values_are_not_one_value(pair, device):
    module = rt.load(pair.vmfb, device=device)
    for fill in (lambda: None, lambda: module.fill(torch.ones(8)), load_one_into_both(module)):
        fill()
        state = module.state_dict()
        expected = state["b"].clone()
        state["a"].fill_(7)
        assert torch.equal(state["b"], expected)
        assert torch.equal(module.state_dict()["a"], expected)
        assert torch.equal(module.bump(), expected + 1)
        assert torch.equal(module.state_dict()["b"], expected)
    module.swap()
    swapped = module.state_dict()
    assert torch.equal(swapped["a"] + 1, swapped["b"])


@pytest.fixture(scope="module")
def pair(build):
    """A module whose two globals often hold the same."""

    class Pair(aot.CompiledModule):
        a = aot.export_global(aot.AbstractTensor(8), mutable=True)
        b = aot.export_global(torch.zeros(8), mutable=True)

        def fill(self, x=aot.AbstractTensor(8)):
            self.a = x
            self.b = x

        def bump(self):
            self.a = self._increase(self.a)
            return self.a

        def swap(self):
            a = self.a
            self.a = self.b
            self.b = a

        @aot.jittable
        def _increase(x):
            return x + 1

    return build(Pair)


def load_one_into_both(module):
    value = torch.full((8,), 3.0)
    return lambda: module.load_state_dict({"a": value, "b": value})


def test_forks_share_weights(tmp_path):
    class Counting(torch.nn.Linear):
        def forward(self, x):
            self.calls.add_(1)
            return super().forward(x)

    counting = Counting(2048, 2048)  # 16 MiB
    counting.register_buffer("calls", torch.zeros(1))
    x = torch.randn(1, 2048)
    expected = counting(x)
    output = aot.export(counting, x, weights="external")
    output.save_parameters(tmp_path / "weights.safetensors")
    path = tmp_path / "weights.safetensors"
    module = rt.load(output.compile(), parameters=path, device="local-sync")
    torch.testing.assert_close(module.main(x), expected)
    before = resident()
    forks = [module.fork() for _ in range(8)]
    for fork in forks:
        torch.testing.assert_close(fork.main(x), expected)
        fork.reset()
        assert torch.equal(fork.main(x), module.main(x))
    assert resident() - before < 16 * 2**20
    assert module.state_dict()["calls"] == 10  # The first was eager, before the export.
    assert forks[0].state_dict()["calls"] == 2


def resident():
    """Return the memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_names_that_two_globals_would_have(build):
    class Counting(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("count", torch.zeros(1))

        def forward(self):
            self.count.add_(1)
            return self.count + 0

    class Both(aot.CompiledModule):
        count = aot.export_global(aot.AbstractI64, mutable=True)
        run = torch.export.export(Counting(), ())
        _other = torch.export.export(Counting(), ())

        def bump(self):
            self.count = self.count + 1
            return self._other()

    module = build(Both).loaded
    for function in (module.bump, module.bump, module.bump, module.run):
        function()
    state = {name: value.item() for name, value in module.state_dict().items()}
    assert state == {"count": 3, "count$1": 1, "_other.count": 3}


def test_reset_starts_generators_again(build):
    class Draws(aot.CompiledModule):
        def draw(self, x=aot.AbstractTensor(8)):
            return self._rand(x)

        @aot.jittable
        def _rand(x):
            return torch.rand_like(x)

    module = build(Draws).loaded
    x = torch.zeros(8)
    first, second = module.draw(x), module.draw(x)
    assert not torch.equal(first, second)
    module.reset()
    assert torch.equal(module.draw(x), first)
    assert torch.equal(module.fork().draw(x), first)
    assert torch.equal(module.draw(x), second)
