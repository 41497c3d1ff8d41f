# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What two branches give back together: one structure, one type for each leaf."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shark_turbine import trees
from shark_turbine.errors import TracingError

from ..dims import Dim
from ..steps import Block, Step
from ..types import AbstractF64, AbstractI64, AbstractScalar, TensorType, ValueType, scalar_type_of
from . import scalars
from .values import ScalarProxy, TensorProxy

if TYPE_CHECKING:
    from .procedure import ProcedureRecorder


@dataclass(frozen=True, slots=True)
class JoinedLeaf:
    """The result number `index` of both branches."""

    index: int


@dataclass(frozen=True, slots=True)
class Branch:
    """One recorded function: its steps, what it returns, and the types of that as it knows them."""

    steps: list[Step]
    result: Any
    types: tuple[ValueType | None, ...]

    @classmethod
    def of(cls, recorder: ProcedureRecorder, steps: list[Step], result: Any) -> Branch:
        """Describe a branch at its end, while what it states of dims holds."""
        leaves = recorder.owned(trees.leaves(result))
        plan = recorder.contracts.plan

        def known(leaf: Any) -> ValueType | None:
            match leaf:
                case TensorProxy():
                    shape = tuple(plan.resolve(dim) for dim in leaf.type.shape)
                    return TensorType(leaf.dtype, shape)
                case ScalarProxy():
                    return leaf.type
                case _:
                    return None

        return cls(steps, result, tuple(known(leaf) for leaf in leaves))


def joined(
    recorder: ProcedureRecorder, on_true: Branch, on_false: Branch, dim_count: int
) -> tuple[Any, list[ValueType], tuple[Block, Block]]:
    """Return the common structure, with a `JoinedLeaf` where a value is computed, types, and blocks.

    Args:
        recorder: that of the procedure.
        on_true: the branch of `true_fn`.
        on_false: the branch of `false_fn`.
        dim_count: how many dims there were before the branches: others mean nothing after them.

    Raises:
        TracingError: the branches return different structures or types.
    """
    ours, theirs = trees.leaves_with_paths(on_true.result), trees.leaves_with_paths(on_false.result)
    if [leaf.path for leaf in ours] != [leaf.path for leaf in theirs] or trees.kinds(
        on_true.result
    ) != trees.kinds(on_false.result):
        raise TracingError(
            "aot.cond: the functions return different structures",
            where=recorder.where,
            location=recorder.user_location(),
            got=f"true_fn: {on_true.result!r}; false_fn: {on_false.result!r}",
            expected="the same structure from both",
            fix="return a value for every leaf in both functions",
        )
    types: list[ValueType] = []
    results: tuple[list[int], list[int]] = ([], [])
    leaves: list[Any] = []
    for place, (left, right) in enumerate(zip(ours, theirs, strict=True)):
        pair = (left.value, right.value)
        is_known = not any(isinstance(value, (TensorProxy, ScalarProxy)) for value in pair)
        if is_known and type(pair[0]) is type(pair[1]) and pair[0] == pair[1]:
            leaves.append(pair[0])
            continue
        known = (on_true.types[place], on_false.types[place])
        value_type = _common(recorder, left.path, pair, known, dim_count)
        leaves.append(JoinedLeaf(len(types)))
        types.append(value_type)
        for branch, value, found in zip((on_true, on_false), pair, results, strict=True):
            found.append(_value(recorder, branch, value, value_type, left.path))
    blocks = tuple(
        Block((), tuple(branch.steps), tuple(found))
        for branch, found in zip((on_true, on_false), results, strict=True)
    )
    return trees.unflatten(on_true.result, leaves), types, (blocks[0], blocks[1])


def _common(
    recorder: ProcedureRecorder,
    path: str,
    pair: tuple[Any, Any],
    known: tuple[ValueType | None, ValueType | None],
    dim_count: int,
) -> ValueType:
    """Return the type that a leaf of both branches has."""
    match known:
        case (TensorType() as left, TensorType() as right):
            if left.dtype == right.dtype and len(left.shape) == len(right.shape):
                shape = tuple(
                    _common_dim(recorder, axis, dims, dim_count)
                    for axis, dims in enumerate(zip(left.shape, right.shape, strict=True))
                )
                return TensorType(left.dtype, shape)
        case (AbstractScalar() as left, AbstractScalar() as right) if left == right:
            return left
        case (AbstractScalar() as one, None) | (None, AbstractScalar() as one):
            return one
        case (None, None) if all(isinstance(value, (bool, int, float)) for value in pair):
            kinds = {scalar_type_of(value) for value in pair}
            if len(kinds) == 1:
                return kinds.pop()
            if kinds == {AbstractI64, AbstractF64}:
                return AbstractF64
        case _:
            pass
    raise _different(recorder, path, pair)


def _common_dim(
    recorder: ProcedureRecorder, axis: int, dims: tuple[Dim, Dim], dim_count: int
) -> Dim:
    left, right = (recorder.contracts.plan.resolve(dim) for dim in dims)
    if left == right and (isinstance(left, int) or left.id < dim_count):
        return left
    return recorder.contracts.plan.new(f"aot.cond(...).dynamic_dim({axis})")


def _value(
    recorder: ProcedureRecorder, branch: Branch, value: Any, value_type: ValueType, path: str
) -> int:
    """Return a branch's value for a leaf; a Python number becomes a constant at its end."""
    if isinstance(value, (TensorProxy, ScalarProxy)):
        return value.value
    outer, recorder.steps = recorder.steps, branch.steps
    try:
        assert isinstance(value_type, AbstractScalar)
        return scalars.adapted(recorder, value, value_type, f"the result{path}").value
    finally:
        recorder.steps = outer


def _different(recorder: ProcedureRecorder, path: str, pair: tuple[Any, Any]) -> TracingError:
    shown = [
        str(value.type)
        if isinstance(value, (TensorProxy, ScalarProxy))
        else f"{type(value).__name__}: {value!r}"
        for value in pair
    ]
    return TracingError(
        f"aot.cond: the functions return different types{f' at {path}' if path else ''}",
        where=recorder.where,
        location=recorder.user_location(),
        got=f"true_fn: {shown[0]}; false_fn: {shown[1]}",
        expected="tensors of one dtype and rank, numbers of one type, or the same constant",
        fix="convert one of them in a jittable; or return neither, and assign globals",
    )
