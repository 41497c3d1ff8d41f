# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The state of loaded modules: read, loaded, reset, forked; whole under many threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import shark_turbine.runtime as rt
from shark_turbine.errors import ExecutionError, LoadError, StateError
from shark_turbine.signature import StateEntry, ValueType

from .conftest import flat, tensor

# `step` raises a number and every element of a tensor by one: a state is whole where both agree.
MLIR = """
module @counter {
  util.global private mutable @_n.global = 0 : i64
  util.global private mutable @_cells.global = dense<0> : tensor<1024xi64>
  func.func @step() -> i64 {
    %one = arith.constant 1 : i64
    %ones = arith.constant dense<1> : tensor<1024xi64>
    %n = util.global.load @_n.global : i64
    %cells = util.global.load @_cells.global : tensor<1024xi64>
    %n1 = arith.addi %n, %one : i64
    %cells1 = arith.addi %cells, %ones : tensor<1024xi64>
    util.global.store %n1, @_n.global : i64
    util.global.store %cells1, @_cells.global : tensor<1024xi64>
    return %n1 : i64
  }
  func.func @reset() {
    %zero = arith.constant -100 : i64
    util.global.store %zero, @_n.global : i64
    return
  }
  func.func @__state.get() -> (i64, tensor<1024xi64>) {
    %0 = util.global.load @_n.global : i64
    %1 = util.global.load @_cells.global : tensor<1024xi64>
    return %0, %1 : i64, tensor<1024xi64>
  }
  func.func @__state.set(%0: i64, %1: tensor<1024xi64>) {
    %2 = util.optimization_barrier %1 : tensor<1024xi64>
    util.global.store %0, @_n.global : i64
    util.global.store %2, @_cells.global : tensor<1024xi64>
    return
  }
}
"""
I64 = ValueType("i64", None)
STEP = flat("step", {}, I64)
STATE = (
    StateEntry("n", "_n.global", I64),
    StateEntry("cells", "_cells.global", tensor("i64", 1024)),
)
THREADS, CALLS, REPEATS = 8, 400, 20


@pytest.fixture(scope="module")
def counter(build):
    """Return a function that loads the counter anew on a device."""
    path = build(MLIR, STEP, stateful=True, state=[entry.to_json() for entry in STATE])
    return lambda device="local-sync": rt.load(path, device=device)


def in_threads(*functions):
    """Run functions at the same time, and pass on what they raise."""
    with ThreadPoolExecutor(len(functions)) as pool:
        return [future.result() for future in [pool.submit(function) for function in functions]]


def repeated(function):
    return lambda: [function() for _ in range(CALLS)]


@pytest.mark.parametrize("device", ["local-sync", "local-task"])
def test_calls_of_many_threads_are_all_counted(counter, device):
    for _ in range(REPEATS):
        module = counter(device)
        results = in_threads(*[repeated(module.step)] * THREADS)
        assert sorted(n for calls in results for n in calls) == [*range(1, THREADS * CALLS + 1)]
        assert module.state_dict()["n"] == THREADS * CALLS
        assert (module.state_dict()["cells"] == THREADS * CALLS).all()


@pytest.mark.parametrize("device", ["local-sync", "local-task"])
def test_a_state_is_of_one_moment(counter, device):
    module = counter(device)
    *_, states = in_threads(*[repeated(module.step)] * 3, repeated(module.state_dict))
    seen = [int(state["n"]) for state in states]
    assert seen == sorted(seen)
    assert all((state["cells"] == state["n"]).all() for state in states)


def test_states_that_are_loaded_stay_whole(counter):
    module = counter("local-task")
    states = [{"n": n, "cells": torch.full((1024,), n)} for n in (0, 10_000)]

    def load():
        for number in range(CALLS):
            module.load_state_dict(states[number % 2])

    *_, seen = in_threads(load, load, repeated(module.step), repeated(module.state_dict))
    assert all((state["cells"] == state["n"]).all() for state in seen)


def test_forks_run_while_another_is_busy(counter):
    module = counter()
    fork = module.fork()
    with module.lock:  # As if a call of the parent went on and on.
        parent = threading.Thread(target=module.step)
        parent.start()
        assert in_threads(fork.step, fork.fork().step) == [1, 1]
        assert in_threads(fork.state_dict)[0]["n"] == 1
        assert parent.is_alive()
    parent.join()
    assert module.state_dict()["n"] == 1


def test_reset_while_threads_call(counter):
    module = counter("local-task")

    def reset():
        for _ in range(20):
            module.reset()

    in_threads(*[repeated(module.step)] * 3, reset)
    state = module.state_dict()
    assert 0 <= state["n"] <= 3 * CALLS
    assert (state["cells"] == state["n"]).all()


def test_a_state_is_a_copy(counter):
    module = counter()
    module.step()
    state = module.state_dict()
    state["cells"].fill_(7)
    assert (module.state_dict()["cells"] == 1).all()
    given = torch.zeros(1024 + 8, dtype=torch.int64)
    given = given[(-given.data_ptr() % 64) // 8 :][:1024]  # Memory that calls use as it is.
    module.load_state_dict({"n": 0, "cells": given})
    module.step()
    assert (given == 0).all()
    given.fill_(9)
    assert (module.state_dict()["cells"] == 1).all()


def test_a_function_of_the_module_is_not_hidden_by_a_method(build):
    path = build(
        MLIR,
        STEP,
        flat("reset", {}),
        stateful=True,
        state=[entry.to_json() for entry in STATE],
    )
    module = rt.load(path, device="local-sync")
    module.step()
    module.reset()
    assert module.state_dict()["n"] == -100
    assert module.step() == -99
    fork = module.fork()
    rt.LoadedModule.reset(module)
    assert module.step() == 1
    assert fork.step() == -98


def test_accessors_are_hidden(counter, build):
    module = counter()
    assert module.functions == ("step",)
    assert not [name for name in dir(module) if "state." in name]
    assert rt.load(build(MLIR), device="local-sync").functions == ("step", "reset")


@pytest.mark.parametrize("method", ["state_dict", "fork"])
def test_a_vmfb_that_does_not_name_its_state(build, method):
    module = rt.load(build(MLIR), device="local-sync")
    with pytest.raises(StateError, match=r"aot\.export\(\.\.\.\)\.compile\(\)") as caught:
        getattr(module, method)()
    assert "no manifest" in str(caught.value)
    module["step"]()
    rt.LoadedModule.reset(module)  # Needs no names.
    assert module["step"]() == 1


def test_a_module_without_state(build):
    path = build(MLIR, STEP, stateful=False)
    module = rt.load(path, device="local-sync")
    assert module.state_dict() == {}
    assert module.load_state_dict({}) == ([], [])
    module.reset()
    assert module.fork().step() == 1
    with pytest.raises(StateError, match="unexpected: 'n'"):
        module.load_state_dict({"n": 1})


def test_a_manifest_that_names_what_is_not_there(build):
    bare = MLIR.replace("__state.set", "__state.put")
    path = build(bare, STEP, stateful=True, state=[entry.to_json() for entry in STATE])
    with pytest.raises(LoadError, match="names globals that the vmfb has no functions for"):
        rt.load(path, device="local-sync")


def test_a_manifest_that_cannot_be_understood(build):
    path = build(MLIR, STEP, stateful=True, state=[{"name": "n"}])
    with pytest.raises(LoadError, match="cannot be understood"):
        rt.load(path, device="local-sync")


@pytest.mark.parametrize("method", ["state_dict", "reset", "fork"])
def test_a_closed_module(counter, method):
    module = counter()
    module.close()
    with pytest.raises(ExecutionError, match="was closed"):
        getattr(module, method)()
    with pytest.raises(ExecutionError, match="was closed"):
        module.load_state_dict({"n": 1}, strict=False)


def test_a_path_instead_of_a_state(counter):
    with pytest.raises(StateError, match=r"fix: *load_state\('state\.safetensors'\)"):
        counter().load_state_dict("state.safetensors")


def test_everything_that_does_not_fit_is_said_at_once(counter):
    module = counter()
    module.step()
    with pytest.raises(StateError) as caught:
        module.load_state_dict({"nn": 1, "cells": torch.zeros(4)})
    message = str(caught.value)
    for line in ("missing: 'n' (i64)", "unexpected: 'nn'; did you mean 'n'?", "f32[4]"):
        assert line in message
    wrong = {"n": torch.tensor(5), "cells": torch.zeros(2, dtype=torch.int64)}
    with pytest.raises(StateError, match=r"cells\.shape\[0\] is 2, not 1024"):
        module.load_state_dict(wrong, strict=False)
    assert module.state_dict()["n"] == 1  # Nothing was loaded.
    found = module.load_state_dict({"n": torch.tensor(5), "x": 1}, strict=False)
    assert found.missing_keys == ["cells"]
    assert found.unexpected_keys == ["x"]
    assert module.step() == 6
