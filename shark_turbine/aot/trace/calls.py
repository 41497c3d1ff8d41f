# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Calls of jittables and of private programs, as a procedure records them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shark_turbine import trees
from shark_turbine.errors import SourceLocation, TracingError, TurbineError

from ..dims import DimConstraint, DimVar, DynamicDim
from ..spec import Jittable, ProgramSpec
from ..step_values import stored_by
from ..steps import Call, Load, Store, TensorOperation
from ..types import AbstractIndex, AbstractScalar, TensorType, ValueType
from . import stores
from .call_checks import check_call
from .capture import CallShape, Captured, Known, known
from .decisions import number_ranges
from .export_errors import CallDescription
from .graph_types import ConstantOutput, ResultIndex
from .module_proxy import plain
from .program_calls import call_checks
from .shared_memory import constant_results, shared_results, updated_results
from .values import Proxy, ScalarProxy, TensorProxy

if TYPE_CHECKING:
    from .procedure import ProcedureRecorder


def record_jittable_call(
    recorder: ProcedureRecorder,
    jittable: Jittable,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    constraints: Sequence[DimConstraint],
) -> Any:
    """Record a call: capture the function for these types, or reuse it."""
    location = recorder.user_location()
    arguments = plain((tuple(args), dict(kwargs)))
    declared = jittable.constraints(*args, **kwargs) if jittable.constraints else ()
    _constrain(recorder, declared, location)
    _constrain(recorder, constraints, location)
    leaves = recorder.owned(trees.leaves(arguments))
    check_call(jittable, args, kwargs, recorder.where, location)
    shape, values = _call_shape(recorder, arguments, leaves)
    description = CallDescription(
        recorder.where, jittable.name, location, shape.dim_names, shape.ranges
    )
    captured = recorder.module.capture(jittable, shape, description)
    proxies = [leaf for leaf in leaves if isinstance(leaf, (TensorProxy, ScalarProxy))]
    for proxy, bounds in zip(proxies, number_ranges(captured.function.program), strict=True):
        if isinstance(proxy, ScalarProxy) and proxy.type == AbstractIndex:
            recorder.steps.extend(
                recorder.contracts.check_index(proxy.value, jittable.name, bounds)
            )
    return _append_call(recorder, captured, values, proxies, jittable.name)


def record_program_call(
    recorder: ProcedureRecorder, spec: ProgramSpec, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Any:
    """Record a call of a private ExportedProgram."""
    captured = recorder.module.program(spec)
    leaves = recorder.owned(trees.leaves(plain((tuple(args), dict(kwargs)))))
    proxies = [leaf for leaf in leaves if isinstance(leaf, (TensorProxy, ScalarProxy))]
    stores.check_program_arguments(recorder, spec, captured, proxies)
    recorder.steps.extend(call_checks(spec, captured, proxies))
    return _append_call(recorder, captured, [p.value for p in proxies], proxies, spec.name)


def _constrain(
    recorder: ProcedureRecorder, given: Sequence[Any], location: SourceLocation | None
) -> None:
    for constraint in given if isinstance(given, (list, tuple)) else [[given]]:
        if isinstance(constraint, DynamicDim):
            continue
        if not isinstance(constraint, DimConstraint):
            raise TracingError(
                "constraints= takes comparisons of dynamic dims",
                where=recorder.where,
                location=location,
                got=", ".join(str(one) for one in constraint)
                if isinstance(constraint, (list, tuple))
                else repr(constraint),
                expected="a list of comparisons, or bare dynamic dims",
                fix="constraints=[a.dynamic_dim(0) == b.dynamic_dim(0)]",
            )
        try:
            recorder.steps.extend(recorder.contracts.add(constraint, location))
        except TurbineError as error:
            error.name_place(recorder.where, location)
            raise


def _call_shape(
    recorder: ProcedureRecorder, arguments: Any, leaves: Sequence[Any]
) -> tuple[CallShape, list[int]]:
    """Describe a call: dims are numbered in order of appearance, equal ones alike."""
    numbering: dict[DimVar, DimVar] = {}
    described: list[ValueType | Known] = []
    values: list[int] = []
    for leaf in leaves:
        if not isinstance(leaf, (TensorProxy, ScalarProxy)):
            described.append(known(leaf))
            continue
        values.append(leaf.value)
        described.append(_canonical(recorder, leaf.type, numbering))
    shape = CallShape(
        structure=trees.unflatten(arguments, range(len(leaves))),
        leaves=tuple(described),
        ranges=tuple(recorder.contracts.plan.range_of(dim) for dim in numbering),
        dim_names=tuple(dim.name for dim in numbering),
    )
    return shape, values


def _canonical(
    recorder: ProcedureRecorder, value_type: ValueType, numbering: dict[DimVar, DimVar]
) -> ValueType:
    if isinstance(value_type, AbstractScalar):
        return value_type
    dims = []
    for dim in value_type.shape:
        resolved = recorder.contracts.plan.resolve(dim)
        if isinstance(resolved, DimVar):
            resolved = numbering.setdefault(resolved, DimVar(len(numbering), resolved.name))
        dims.append(resolved)
    return TensorType(value_type.dtype, tuple(dims))


def _append_call(
    recorder: ProcedureRecorder,
    captured: Captured,
    values: Sequence[int],
    proxies: Sequence[Proxy],
    name: str,
) -> Any:
    """Append the call and make stand-ins for its results, their dims in this procedure."""
    known_dims = _argument_dims(recorder, captured, proxies)
    results: list[Proxy] = []
    for result_type in captured.function.results:
        results.append(_result(recorder, result_type, known_dims, name))
    ids = [result.value for result in results]
    function = captured.function
    aliases: list[tuple[int, int]] = []
    copies: list[TensorOperation] = []
    state = recorder.module.globals
    mutable = {name: one for name, one in function.globals.items() if state[one].mutable}
    for number, argument in shared_results(function.program, mutable):
        if not isinstance(results[number], TensorProxy):
            continue
        if argument is not None:
            aliases.append((ids[number], values[argument]))
            continue
        ids[number] = recorder.new_value(results[number].type)
        copies.append(TensorOperation(results[number].value, "copy", (ids[number],)))
    constants = tuple(ids[number] for number in constant_results(function.program, mutable))
    updates = tuple((ids[n], values[argument]) for n, argument in updated_results(function.program))
    recorder.steps.append(
        Call(
            tuple(ids),
            function.symbol,
            tuple(values),
            function.stores,
            tuple(aliases),
            constants,
            updates,
        )
    )
    recorder.steps.extend(copies)
    for argument, index in captured.mutated:
        _rebind(recorder, proxies, argument, results[index].value, name)
    return trees.map_leaves(lambda leaf: _result_leaf(leaf, results), captured.structure)


def _rebind(
    recorder: ProcedureRecorder, proxies: Sequence[Proxy], argument: int, value: int, name: str
) -> None:
    """Have a stand-in that a function changed in place hold the new value, and its global too."""
    proxy = proxies[argument]
    for other in (*proxies[:argument], *proxies[argument + 1 :]):
        if other is proxy or (other._symbol is not None and other._symbol == proxy._symbol):
            raise TracingError(
                f"{name} changes {proxy._name} in place, and is given it twice",
                where=recorder.where,
                location=recorder.user_location(),
                got=f"{proxy._name} as two arguments of {name}",
                expected="a tensor that is changed in place as one argument",
                fix="write out of place in the jittable, and return the new tensor",
            )
    if not recorder.is_of_this_block(proxy):
        raise TracingError(
            f"{name} changes {proxy._name} in place, inside a branch or loop body; {proxy._name} is from "
            "outside, and would not change there",
            where=recorder.where,
            location=recorder.user_location(),
            got=f"{proxy._name}: {proxy.type}",
            expected="in-place changes of what the function is given, makes, or reads from a global",
            fix="carry the tensor: pass it to aot.while_loop, or return the new one from the branch",
        )
    is_state = _is_current(recorder, proxy)
    proxy.value = value
    if is_state:
        recorder.set_global(proxy._symbol, proxy._name, proxy)


def _is_current(recorder: ProcedureRecorder, proxy: Proxy) -> bool:
    """Say whether a stand-in is what its global holds by now."""
    for step in reversed(recorder.steps):
        match step:
            case Store(symbol, value) if symbol == proxy._symbol:
                return value == proxy.value
            case Load(result, _) if result == proxy.value:
                return True
            case _:
                if proxy._symbol in set(stored_by([step])):
                    return False
    return False


def _argument_dims(
    recorder: ProcedureRecorder, captured: Captured, proxies: Sequence[Proxy]
) -> dict[DimVar, int | DimVar]:
    pairs = [
        pair
        for declared, proxy in zip(captured.function.parameters, proxies, strict=True)
        if isinstance(declared, TensorType) and isinstance(proxy, TensorProxy)
        for pair in zip(declared.shape, proxy.type.shape, strict=True)
    ]
    dims: dict[DimVar, int | DimVar] = {}
    for inner, outer in pairs:
        if isinstance(inner, DimVar):
            dims.setdefault(inner, outer)
    return dims


def _result(
    recorder: ProcedureRecorder, result_type: ValueType, dims: dict[DimVar, int | DimVar], name: str
) -> Proxy:
    if isinstance(result_type, AbstractScalar):
        return ScalarProxy(recorder, recorder.new_value(result_type), result_type, f"{name}(...)")
    label = f"{name}(...)"
    shape: list[int | DimVar] = []
    for axis, dim in enumerate(result_type.shape):
        if isinstance(dim, DimVar) and dim not in dims:
            dims[dim] = recorder.contracts.plan.new(f"{label}.dynamic_dim({axis})")
        shape.append(dims[dim] if isinstance(dim, DimVar) else dim)
    value_type = TensorType(result_type.dtype, tuple(shape))
    value = recorder.new_value(value_type)
    recorder.contracts.locate(value, label, value_type.shape)
    return TensorProxy(recorder, value, value_type, label)


def _result_leaf(leaf: Any, results: Sequence[Proxy]) -> Any:
    match leaf:
        case ResultIndex(index):
            return results[index]
        case ConstantOutput(value):
            return value
        case _:
            return leaf
