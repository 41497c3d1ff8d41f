# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""From a recording to a `Procedure`: results, entry checks, unused reads dropped, values numbered."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, assert_never

from shark_turbine import dtypes, trees
from shark_turbine.errors import TracingError
from shark_turbine.signature import (
    Argument,
    FunctionSignature,
    Parameter,
    Tree,
)
from shark_turbine.signature import (
    ValueType as FlatType,
)

from ..dims import DimVar
from ..program import (
    Arithmetic,
    Call,
    Check,
    Constant,
    DimOf,
    Load,
    Procedure,
    ScalarOperation,
    ScalarValue,
    Size,
    SizeExpression,
    Step,
    Store,
)
from ..types import AbstractScalar, TensorType, ValueType
from .values import ScalarProxy, TensorProxy

if TYPE_CHECKING:
    from .procedure import ProcedureRecorder


def finish_procedure(recorder: ProcedureRecorder, result: Any) -> Procedure:
    """Make the procedure of a recording.

    Raises:
        TracingError: the method returned something that a compiled function cannot return.
    """
    returned: list[int] = []
    recorder.owned(trees.leaves(result))
    result_tree = trees.to_tree(result, lambda leaf: _returned_leaf(recorder, leaf, returned))
    entry = recorder.contracts.entry_checks()
    count = sum(len(trees.leaves(parameter.value)) for parameter in recorder.spec.parameters)
    steps = _without_unused([*entry, *recorder.steps], returned)
    number = _numbering(count, steps)
    types = [recorder.types[old] for old in sorted(number, key=lambda old: number[old])]
    kept = [_rename(step, number) for step in steps]
    kept_returned = tuple(number[value] for value in returned)
    root_types = tuple(_with_roots(recorder, value_type) for value_type in types)
    return Procedure(
        symbol=recorder.spec.name,
        signature=_signature(recorder, result_tree, root_types, kept_returned, entry),
        types=root_types,
        steps=tuple(kept),
        returned=kept_returned,
        location=recorder.spec.location,
    )


def _returned_leaf(recorder: ProcedureRecorder, leaf: Any, returned: list[int]) -> int | None:
    if isinstance(leaf, (TensorProxy, ScalarProxy)):
        returned.append(leaf.value)
        return len(returned) - 1
    if leaf is None or isinstance(leaf, (bool, int, float, str)):
        return None
    raise TracingError(
        "the method returns a value that a compiled function cannot return",
        where=recorder.where,
        location=recorder.spec.location,
        got=f"{type(leaf).__name__}: {leaf!r}",
        expected="tensors and numbers of the procedure, constants, None, and structures of them",
        fix="return the result of an aot.jittable, or a global",
    )


def _signature(
    recorder: ProcedureRecorder,
    result: Tree,
    types: tuple[ValueType, ...],
    returned: tuple[int, ...],
    entry: list[Check],
) -> FunctionSignature:
    def dim_name(dim: DimVar) -> str:
        return recorder.contracts.named_dim(dim) or str(dim)

    parameters: list[Parameter] = []
    arguments: list[Argument] = []
    for parameter in recorder.spec.parameters:
        first = len(arguments)
        for leaf in trees.leaves_with_paths(parameter.value):
            value_type = flat_type(types[len(arguments)], dim_name)
            arguments.append(Argument(parameter.name + leaf.path, value_type))
        tree = _counted_tree(parameter.value, first)
        parameters.append(Parameter(parameter.name, tree, parameter.keyword_only))
    return FunctionSignature(
        name=recorder.spec.name,
        parameters=tuple(parameters),
        arguments=tuple(arguments),
        result=result,
        results=tuple(flat_type(types[value], dim_name) for value in returned),
        contracts=tuple(dict.fromkeys(check.message for check in entry)),
    )


def _counted_tree(declared: Any, first: int) -> Tree:
    supply = iter(range(first, first + len(trees.leaves(declared))))
    return trees.to_tree(declared, lambda _: next(supply))


def flat_type(value_type: ValueType, dim_name: Callable[[DimVar], str]) -> FlatType:
    """Return a value's type as it is seen from outside; an index travels as i64."""
    if isinstance(value_type, AbstractScalar):
        return FlatType("i64" if value_type.name == "index" else value_type.name, None)
    shape = tuple(dim_name(d) if isinstance(d, DimVar) else d for d in value_type.shape)
    return FlatType(dtypes.from_torch(value_type.dtype).name, shape)


def _with_roots(recorder: ProcedureRecorder, value_type: ValueType) -> ValueType:
    if not isinstance(value_type, TensorType):
        return value_type
    root = recorder.contracts.plan.root
    shape = tuple(root(dim) if isinstance(dim, DimVar) else dim for dim in value_type.shape)
    return TensorType(value_type.dtype, shape)


def _without_unused(steps: list[Step], returned: list[int]) -> list[Step]:
    """Drop reads and numbers that nothing uses."""
    used = set(returned)
    kept: list[Step] = []
    for step in reversed(steps):
        pure = isinstance(step, (Load, Constant, Size, ScalarOperation))
        if pure and step.result not in used:
            continue
        used.update(_operands(step))
        kept.append(step)
    return kept[::-1]


def _operands(step: Step) -> list[int]:
    match step:
        case Store(_, value):
            return [value]
        case Call(_, _, arguments):
            return list(arguments)
        case Size(_, source):
            return [source.value]
        case ScalarOperation(_, _, operands):
            return list(operands)
        case Check(left, _, right, _):
            return [*_measured(left), *_measured(right)]
        case Load() | Constant():
            return []
        case _:
            assert_never(step)


def _measured(expression: SizeExpression) -> list[int]:
    match expression:
        case int():
            return []
        case DimOf(value, _) | ScalarValue(value):
            return [value]
        case Arithmetic(_, left, right):
            return [*_measured(left), *_measured(right)]
        case _:
            assert_never(expression)


def _numbering(argument_count: int, steps: list[Step]) -> dict[int, int]:
    number = {value: value for value in range(argument_count)}
    for step in steps:
        match step:
            case Call(results, _, _):
                for result in results:
                    number[result] = len(number)
            case Load(result, _) | Constant(result, _) | Size(result, _):
                number[result] = len(number)
            case ScalarOperation(result, _, _):
                number[result] = len(number)
            case _:
                pass
    return number


def _rename(step: Step, number: dict[int, int]) -> Step:
    def size(expression: SizeExpression) -> SizeExpression:
        match expression:
            case int():
                return expression
            case DimOf(value, axis):
                return DimOf(number[value], axis)
            case ScalarValue(value):
                return ScalarValue(number[value])
            case Arithmetic(operator, left, right):
                return Arithmetic(operator, size(left), size(right))
            case _:
                assert_never(expression)

    match step:
        case Load() | Constant():
            return dataclasses.replace(step, result=number[step.result])
        case Store():
            return dataclasses.replace(step, value=number[step.value])
        case Call(results, symbol, arguments):
            return Call(
                tuple(number[value] for value in results),
                symbol,
                tuple(number[value] for value in arguments),
            )
        case Size(result, source):
            return Size(number[result], DimOf(number[source.value], source.axis))
        case ScalarOperation(result, operator, operands):
            return ScalarOperation(
                number[result], operator, tuple(number[value] for value in operands)
            )
        case Check(left, relation, right, message):
            return Check(size(left), relation, size(right), message)
        case _:
            assert_never(step)
