# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ruff: noqa: B008  defaults of procedures are their signatures
"""From specs to programs: what `str(program)` shows."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from typing import Any

import pytest
import torch

import shark_turbine.aot as aot
from shark_turbine.aot import IREE
from shark_turbine.aot.declare import collect_body
from shark_turbine.aot.trace import record_module
from shark_turbine.errors import TracingError

A = aot.AbstractTensor


def program_of(module: type[aot.CompiledModule]) -> str:
    """Return the program's window, without the places of procedures."""
    return re.sub(r" +# test_record\.py:\d+", "", str(record_module(module._spec)))


def expect(module: type[aot.CompiledModule], text: str) -> None:
    assert program_of(module) == textwrap.dedent(text).strip()


def test_the_window_of_the_documented_example() -> None:
    class DynamicSumModule(aot.CompiledModule):
        @aot.jittable
        def compute_sum(a: Any, b: Any) -> Any:
            return a + b

        def sum_dynamic(self, a=A(None), b=A(None)):
            return self.compute_sum(a, b, constraints=[a.dynamic_dim(0) == b.dynamic_dim(0)])

    expect(
        DynamicSumModule,
        """
        program @dynamic_sum
          jit @compute_sum(f32[d0], f32[d0]) -> (f32[d0])
          export @sum_dynamic(a: f32[d0], b: f32[d0]) -> (f32[d0])
            check %0[0] == %1[0]    # sum_dynamic: a.shape[0] must equal b.shape[0]
            %2 = call @compute_sum(%0, %1)
            return %2
        """,
    )


def test_equal_calls_share_a_function_and_others_do_not() -> None:
    class CallsModule(aot.CompiledModule):
        @aot.jittable
        def scale(x: Any, by: float) -> Any:
            return x * by

        def twice(self, x=A(2)):
            return self.scale(self.scale(x, 2.0), 2.0)

        def other_constant(self, x=A(2)):
            return self.scale(x, 3.0)

        def other_shape(self, x=A(3)):
            return self.scale(x, 2.0)

        def other_kind(self, x=A(2)):
            return self.scale(x, 2)

        def by_keyword(self, x=A(2)):
            return self.scale(x, by=2.0), self.scale(by=2.0, x=x)

    program = program_of(CallsModule)
    assert re.findall(r"jit @(\S+)\(", program) == [
        f"scale{n}" for n in ("", *("$1", "$2", "$3", "$4", "$5"))
    ]
    assert program.count("call @scale(") == 2


def test_state_is_read_where_it_is_used_and_unused_reads_go() -> None:
    class StateModule(aot.CompiledModule):
        state = aot.export_global_tree({"a": A(2), "b": A(2)}, mutable=True)
        count = aot.export_global(5, mutable=True)

        def swap(self):
            _ = self.count
            self.state["a"] = self.state["b"]
            return self.state["a"]

        def step(self, by=aot.AbstractI64):
            self.count = self.count + by * 2
            return self.count, 7

    expect(
        StateModule,
        """
        program @state
          global mutable @_state.a: f32[2] = zero
          global mutable @_state.b: f32[2] = zero
          global mutable @_count.global: i64 = inline
          export @swap() -> (f32[2])
            %0 = load @_state.b
            %1 = copy %0
            store @_state.a, %1
            %2 = load @_state.a
            return %2
          export @step(by: i64) -> (i64)
            %1 = load @_count.global
            %2 = constant 2
            %3 = * %0, %2
            %4 = + %1, %3
            store @_count.global, %4
            %5 = load @_count.global
            return %5
        """,
    )


def test_sizes_and_flowing_dims() -> None:
    class SizesModule(aot.CompiledModule):
        @aot.jittable
        def join(a: Any, b: Any) -> Any:
            return torch.cat([a, b])

        def run(self, a=A("n", 3), b=A(None, 3)):
            c = self.join(a, b)
            return c, c.size(0), a.shape[0], c.shape[1]

    expect(
        SizesModule,
        """
        program @sizes
          jit @join(f32[d0, 3], f32[d1, 3]) -> (f32[d2, 3])
          export @run(a: f32[d0, 3], b: f32[d1, 3]) -> (f32[d2, 3], index, index)
            %2 = call @join(%0, %1)
            %3 = size %2[0]
            %4 = size %0[0]
            return %2, %3, %4
        """,
    )


def test_in_place_operations_become_results() -> None:
    class InPlaceModule(aot.CompiledModule):
        @aot.jittable
        def double(x: Any) -> None:
            x.mul_(2)

        def run(self, x=A(2)):
            self.double(x)
            self.double(x)
            return x

    expect(
        InPlaceModule,
        """
        program @in_place
          jit @double(f32[2]) -> (f32[2])
          export @run(x: f32[2]) -> (f32[2])
            %1 = call @double(%0)
            %2 = call @double(%1)
            return %2
        """,
    )


def test_symbols_do_not_clash() -> None:
    class ClashModule(aot.CompiledModule):
        run_state = aot.export_global(A(2), name="x")
        inner = aot.jittable(lambda x: x + 1, function_name="run")
        other = aot.jittable(lambda x: x + 2, function_name="run")
        third = aot.jittable(lambda x: x + 3, function_name="_run_state.x")

        def run(self, x=A(2)):
            return self.inner(self.other(self.third(x)))

    assert re.findall(r"jit @(\S+)\(", program_of(ClashModule)) == [
        "_run_state.x$1",
        "run$1",
        "run$2",
    ]


def test_helpers_run_inside_and_a_value_may_be_returned_twice() -> None:
    class HelperModule(aot.CompiledModule):
        def _pair(self, x: Any, *, times: int = 2) -> list[Any]:
            return [x] * times

        def run(self, x=A(2)):
            return {"pair": self._pair(x), "none": None, "n": 3}

    expect(
        HelperModule,
        """
        program @helper
          export @run(x: f32[2]) -> (f32[2], f32[2])
            return %0, %0
        """,
    )


def test_a_failure_in_user_code_keeps_its_cause() -> None:
    class BrokenModule(aot.CompiledModule):
        def run(self, x=A(2)):
            return {}["missing"]

    with pytest.raises(TracingError, match="KeyError: 'missing'") as caught:
        record_module(BrokenModule._spec)
    assert isinstance(caught.value.__cause__, KeyError)
    assert caught.value.location is not None
    assert caught.value.location.source_line() == 'return {}["missing"]'


def test_nothing_is_left_recording_after_a_failure() -> None:
    double = aot.jittable(lambda x: x * 2)

    class BrokenModule(aot.CompiledModule):
        def run(self, x=A(2)):
            raise ValueError("no")

    with pytest.raises(TracingError):
        record_module(BrokenModule._spec)
    torch.testing.assert_close(double(torch.ones(2)), torch.full((2,), 2.0))


def test_a_body_is_traced_from_its_spec_alone() -> None:
    def run(self: Any, x: Any = A(2)) -> Any:
        return x

    spec = collect_body("PlainModule", {"run": run}, [], None)
    assert "export @run(x: f32[2]) -> (f32[2])" in str(record_module(spec))


WITHOUT_IREE = """
import sys
sys.modules["iree"] = None
sys.modules["iree.compiler"] = None
import torch
from shark_turbine.aot import IREE
from shark_turbine.aot.declare import collect_body, export_global, jittable
from shark_turbine.aot.trace import record_module
from shark_turbine.aot.types import AbstractTensor

def run(self, x=AbstractTensor(None, 4)):
    self.state = self.total(x)
    return self.total(x)

body = {
    "state": export_global(torch.zeros(4), mutable=True),
    "total": jittable(lambda x: x.sum(0)),
    "run": run,
}
print(record_module(collect_body("SumModule", body, [], None)))
assert not [name for name in sys.modules if name.startswith("iree.") and sys.modules[name]]
"""


def test_declaring_and_tracing_need_no_iree() -> None:
    child = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WITHOUT_IREE],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert child.returncode == 0, child.stderr
    assert "jit @total(f32[d0, 4]) -> (f32[4])" in child.stdout
    assert child.stdout.count("call @total(%0)") == 2


def test_branches_and_loops_are_shown_as_blocks() -> None:
    class FlowModule(aot.CompiledModule):
        cache = aot.export_global(A(4), mutable=True)
        double = aot.jittable(lambda x: x * 2)

        def run(self, x=A("n"), n=aot.AbstractI64):
            def body(i: Any, v: Any) -> Any:
                self.cache = IREE.tensor_update(self.cache, IREE.tensor_splat(1, value=1.0), i)
                return aot.cond(i > 2, lambda: self.double(v), lambda: v)

            old = self.cache
            return aot.fori_loop(0, n, body, x), old

    expect(
        FlowModule,
        """
        program @flow
          global mutable @_cache.global: f32[4] = zero
          jit @double(f32[d0]) -> (f32[d0])
          export @run(x: f32[d0], n: i64) -> (f32[d0], f32[4])
            %2 = load @_cache.global
            %3 = copy %2
            %4 = constant 0
            %5, %6 = while %4, %0
              condition(%7, %8)
                %9 = < %7, %1
                yield %9
              body(%10, %11)
                %12 = constant 1
                %13 = + %10, %12
                %14 = load @_cache.global
                %15 = constant 1.0
                %16 = splat %15 as [1]
                %17 = cast %10
                check %17 >= 0    # run: IREE.tensor_update: the index of dim 0 of self.cache must be >= 0
                check (%17 + 1) <= 4    # run: IREE.tensor_update must stay inside dim 0 of self.cache
                %18 = update %14, %16 at [%17]
                store @_cache.global, %18
                %19 = constant 2
                %20 = > %10, %19
                %21 = cond %20
                  true
                    %22 = call @double(%11)
                    yield %22
                  false
                    yield %11
                yield %13, %21
            return %6, %3
        """,
    )


def test_a_called_procedure_is_recorded_where_it_is_called() -> None:
    class CallModule(aot.CompiledModule):
        add = aot.jittable(lambda a, b: a + b)

        def one(self, a=A("n"), b=A("n")):
            return {"sum": self.add(a, b)}

        def two(self, x=A(3), y=A(None)):
            return self.one(x, b=y)["sum"]

    window = program_of(CallModule).split("  export @two")[1]
    assert window == textwrap.dedent(
        """\
        (x: f32[3], y: f32[d0]) -> (f32[3])
            check %1[0] == 3    # two: y.shape[0] must be 3
            %2 = call @add$1(%0, %1)
            return %2"""
    )


def test_tensor_operations_share_dims_with_the_numbers_they_are_given() -> None:
    class DimsModule(aot.CompiledModule):
        def run(self, x=A(None, 4), n=aot.AbstractIndex):
            made = IREE.tensor_empty(n, x.size(0))
            part = IREE.tensor_slice(x, (0, x.size(0)), (1, 2))
            return made, IREE.tensor_reshape(part, 2, x.size(0)), made.size(0), made.size(1)

    expect(
        DimsModule,
        """
        program @dims
          export @run(x: f32[d0, 4], n: index) -> (f32[d1, d0], f32[2, d0], index, index)
            %2 = size %0[0]
            check %1 >= 0    # run: the size given to IREE.tensor_empty must be >= 0
            %3 = empty as [%1, %2]
            %4 = size %0[0]
            %5 = slice %0 at [0, 1] of [%4, 2]
            %6 = size %0[0]
            %7 = reshape %5 as [2, %6]
            %8 = size %0[0]
            return %3, %7, %1, %8
        """,
    )
