# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""From a call of a jittable to a `JitFunction`: torch.export on stand-ins of the right types."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from types import CellType
from typing import Any

import torch
from torch.fx import proxy as _fx_proxy

from shark_turbine import trees
from shark_turbine.decompositions import prepare

from .. import recorder
from ..dims import DimRange, DimVar
from ..program import JitFunction
from ..spec import Jittable
from ..types import AbstractScalar, TensorType, ValueType
from .captured_state import StateBinder, captured_modules
from .decisions import refuse_decisions
from .export_errors import CallDescription, explain_export_failure
from .graph_types import ConstantOutput, ResultIndex, SymbolTable, read_outputs
from .quiet import quiet_torch


@dataclass(frozen=True, slots=True)
class CallShape:
    """One call of a jittable: structure, types with dims numbered from 0, and constants.

    `structure` is `(args, kwargs)` with an int at each leaf; `leaves` holds a type for each value
    and a `Known` for each constant. Two calls with equal keys share one function.
    """

    structure: Any
    leaves: tuple[ValueType | Known, ...]
    ranges: tuple[DimRange, ...]
    dim_names: tuple[str, ...]

    @property
    def types(self) -> tuple[ValueType, ...]:
        return tuple(leaf for leaf in self.leaves if not isinstance(leaf, Known))

    def key(self) -> Hashable:
        return (trees.kinds(self.structure), self.leaves, self.ranges)


@dataclass(frozen=True, slots=True)
class Known:
    """A value that is known at tracing: part of the function, not an argument of it."""

    value: Any = field(compare=False)
    key: Hashable


@dataclass(frozen=True, slots=True)
class Captured:
    """A jit function and how Python sees it.

    `structure` is the Python result with a `ResultIndex` or a `ConstantOutput` at each leaf.
    `mutated` pairs a parameter with the result that holds its new value.
    """

    function: JitFunction
    structure: Any
    mutated: tuple[tuple[int, int], ...]


def capture_jittable(
    jittable: Jittable,
    shape: CallShape,
    *,
    symbol: str,
    bind: StateBinder,
    description: CallDescription,
) -> Captured:
    """Capture the function for one call shape.

    Raises:
        DimensionError: the function needs more of a dynamic dim than was constrained.
        TracingError: torch.export cannot trace the function, or it changes state that cannot
            change.
    """
    wrapper = _FlatFunction(jittable, shape)
    program = _export(wrapper, shape, description)
    refuse_decisions(program, description)
    with quiet_torch():
        prepared = prepare(program, decomposition_table=jittable.decomposition_table)
    symbols = SymbolTable.from_inputs(prepared, shape.types)
    outputs = read_outputs(prepared, symbols)
    function = JitFunction(
        symbol=symbol,
        program=prepared,
        parameters=tuple(_parameter_type(leaf) for leaf in shape.types),
        results=outputs.results,
        globals=bind(prepared, description),
    )
    structure = trees.map_leaves(
        lambda leaf: (
            outputs.user[leaf.index] if isinstance(leaf, ResultIndex) else ConstantOutput(leaf)
        ),
        wrapper.noted.structure,
    )
    return Captured(function, structure, outputs.mutated)


def _parameter_type(declared: ValueType) -> ValueType:
    """Numbers travel as tensors of no dims, except sizes (`index`), which torch keeps symbolic."""
    if isinstance(declared, AbstractScalar) and declared.name != "index":
        return TensorType(SCALAR_DTYPES[declared.name], ())
    return declared


SCALAR_DTYPES = {
    "i32": torch.int32,
    "i64": torch.int64,
    "f32": torch.float32,
    "f64": torch.float64,
    "bool": torch.bool,
}


class _FlatFunction(torch.nn.Module):
    """The user's function over flat leaves; notes the structure of what it returns."""

    def __init__(self, jittable: Jittable, shape: CallShape) -> None:
        super().__init__()
        self._call = (jittable.function, shape)
        self.noted = _Noted()
        for index, module in enumerate(captured_modules(jittable.function)):
            self.add_module(f"captured_{index}", module)
        _anchor(jittable.function)

    def _call_flat(self, *values: Any) -> list[Any]:
        function, shape = self._call
        supply = iter(values)
        flat = [leaf.value if isinstance(leaf, Known) else next(supply) for leaf in shape.leaves]
        args, kwargs = trees.map_leaves(lambda index: flat[index], shape.structure)
        with recorder.recording(None):
            result = function(*args, **kwargs)
        computed: list[Any] = []
        self.noted.structure = trees.map_leaves(lambda leaf: _note(leaf, computed), result)
        return computed

    # torch notes the lines of frames called `forward` as the user's; this one is not.
    forward = _call_flat


class _Noted:
    """Holds what a traced call returned: torch.export resets the attributes of the module itself."""

    structure: Any = None


def _note(leaf: Any, computed: list[Any]) -> Any:
    if isinstance(leaf, (torch.Tensor, torch.SymInt, torch.SymFloat, torch.SymBool)):
        computed.append(leaf)
        return ResultIndex(len(computed) - 1)
    return leaf


def _anchor(function: Callable[..., Any]) -> None:
    """Have torch keep the user's own line for each operation of a function not named `forward`."""
    inner = getattr(function, "__func__", function)
    if getattr(inner, "__code__", None) is not None:
        _fx_proxy._register_stack_trace_anchor(inner)


def _export(
    wrapper: _FlatFunction, shape: CallShape, description: CallDescription
) -> torch.export.ExportedProgram:
    """Export with a different example size for each dim; a failure is diagnosed with equal ones.

    Different sizes let code compare dims without tying them together; equal sizes make torch name
    the dims that must be equal.
    """
    try:
        return _export_with(wrapper, shape, _distinct_sizes(shape.ranges))
    except Exception as first:
        if not shape.ranges:
            raise explain_export_failure(first, description) from first
        try:
            return _export_with(wrapper, shape, _common_sizes(shape.ranges))
        except Exception as second:
            raise explain_export_failure(second, description) from second


def _export_with(
    wrapper: _FlatFunction, shape: CallShape, sizes: Sequence[int]
) -> torch.export.ExportedProgram:
    dims = [_export_dim(index, bounds) for index, bounds in enumerate(shape.ranges)]
    examples = [_example(leaf, sizes) for leaf in shape.types]
    dynamic = tuple(_dynamic_spec(leaf, dims) for leaf in shape.types)
    with quiet_torch():
        return torch.export.export(
            wrapper,
            tuple(examples),
            dynamic_shapes={"values": dynamic} if dynamic else None,
            strict=False,
        )


def named_dim(name: str | None) -> Any:
    """Return a dim for the `dynamic_shapes` of an export: of any size, under a name or without one."""
    return torch.export.Dim.DYNAMIC if name is None else torch.export.Dim(name)


def _export_dim(index: int, bounds: DimRange) -> Any:
    # Here and above is the one place that makes torch.export.Dim objects.
    return torch.export.Dim(f"d{index}", min=bounds.minimum, max=bounds.maximum)


def _dynamic_spec(leaf: ValueType, dims: Sequence[Any]) -> Any:
    if isinstance(leaf, AbstractScalar):
        return torch.export.Dim.DYNAMIC if leaf.name == "index" else None
    return {
        axis: dims[dim.id] for axis, dim in enumerate(leaf.shape) if isinstance(dim, DimVar)
    } or None


def _example(leaf: ValueType, sizes: Sequence[int]) -> Any:
    """Return a stand-in: its data is never read, so no page of a large one is ever touched."""
    if isinstance(leaf, AbstractScalar):
        if leaf.name == "index":
            return 7
        return torch.zeros((), dtype=SCALAR_DTYPES[leaf.name])
    shape = [sizes[dim.id] if isinstance(dim, DimVar) else dim for dim in leaf.shape]
    return torch.empty(shape, dtype=leaf.dtype)


def _distinct_sizes(ranges: Sequence[DimRange]) -> list[int]:
    """Choose a size for each dim within its range, all different and mutually prime if possible."""
    chosen: list[int] = []
    for bounds in ranges:
        candidates = [size for size in _PRIMES if size in bounds and size not in chosen]
        low = max(bounds.minimum, 2)
        chosen.append(candidates[0] if candidates else low if low in bounds else bounds.minimum)
    return chosen


def _common_sizes(ranges: Sequence[DimRange]) -> list[int]:
    """Choose one well-divisible size for all dims, within each dim's range."""
    return [
        next((s for s in (720, 48, 24, 12, 6, 4, 2) if s in bounds), max(bounds.minimum, 2))
        if 24 not in bounds
        else 24
        for bounds in ranges
    ]


_PRIMES = (5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 101, 211, 503)


def known(value: Any) -> Known:
    """Wrap a constant argument; equal constants make equal calls."""
    if isinstance(value, (float, complex)):
        # By how it is written: zeros have a sign, and NaN does not equal itself.
        return Known(value, (type(value), repr(value)))
    if isinstance(value, torch.Tensor) or not isinstance(value, Hashable):
        return same(value)
    return Known(value, (type(value), value))


def same(value: Any) -> Known:
    """Wrap a value that only equals itself; the wrapper keeps it alive, and with it its id."""
    return Known(value, ("id", id(value)))


def function_key(function: Callable[..., Any]) -> Hashable:
    """Return what makes a function another one: itself, and what its closure holds by now."""
    inner = getattr(function, "__func__", function)
    cells = getattr(inner, "__closure__", None) or ()
    held = tuple(_closure_key(cell) for cell in cells)
    return (known(function), held)


def _closure_key(cell: CellType) -> Hashable:
    try:
        value = cell.cell_contents
    except ValueError:
        return None  # The variable has no value yet.
    is_plain = isinstance(value, (bool, int, float, complex, str))
    return known(value) if is_plain else same(value)
