# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""From a recording to a `Procedure`: results, entry checks, unused reads dropped, values numbered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

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
from ..program import Procedure
from ..step_values import blocks_of, operands_of, rename_step, results_of, with_blocks
from ..steps import (
    Block,
    Check,
    Constant,
    Load,
    ScalarOperation,
    Size,
    Step,
    TensorOperation,
)
from ..types import AbstractScalar, TensorType, ValueType
from .old_values import keep_old_values
from .values import ScalarProxy, TensorProxy

if TYPE_CHECKING:
    from .procedure import ProcedureRecorder

_PURE = (Load, Constant, Size, ScalarOperation, TensorOperation)


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
    steps = list(
        keep_old_values(
            steps,
            returned,
            _mutable_tensors(recorder),
            lambda v: recorder.new_value(recorder.types[v]),
        )
    )
    number = _numbering(count, steps)
    types = [recorder.types[old] for old in sorted(number, key=lambda old: number[old])]
    kept = [rename_step(step, number.__getitem__) for step in steps]
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


def _mutable_tensors(recorder: ProcedureRecorder) -> set[str]:
    specs = recorder.module.globals.values()
    return {
        spec.symbol for spec in specs if spec.mutable and not isinstance(spec.type, AbstractScalar)
    }


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


def _without_unused(steps: Sequence[Step], returned: Iterable[int]) -> list[Step]:
    """Drop reads, numbers and tensor operations that nothing uses."""
    used = set(returned)
    kept: list[Step] = []
    for step in reversed(steps):
        if isinstance(step, _PURE) and step.result not in used:
            continue
        slimmed = with_blocks(
            step,
            [
                Block(
                    block.arguments,
                    tuple(_without_unused(block.steps, block.results)),
                    block.results,
                )
                for block in blocks_of(step)
            ],
        )
        used.update(operands_of(slimmed))
        kept.append(slimmed)
    return kept[::-1]


def _numbering(argument_count: int, steps: Iterable[Step]) -> dict[int, int]:
    """Give values numbers in the order of the program's window."""
    number = {value: value for value in range(argument_count)}
    _number_steps(steps, number)
    return number


def _number_steps(steps: Iterable[Step], number: dict[int, int]) -> None:
    for step in steps:
        for result in results_of(step):
            number[result] = len(number)
        for block in blocks_of(step):
            for argument in block.arguments:
                number[argument] = len(number)
            _number_steps(block.steps, number)
