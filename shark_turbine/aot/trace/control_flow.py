# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`aot.cond`, `aot.while_loop` and `aot.fori_loop` in a procedure: functions recorded as blocks.

A block reads and writes globals as a procedure does; nothing but its arguments and results has to be
carried. Facts about dims that are stated inside hold inside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from shark_turbine import trees
from shark_turbine.errors import TracingError

from ..steps import Block, Cond, Step, While
from ..types import AbstractBool, AbstractScalar, scalar_type_of
from . import scalars
from .branches import Branch, JoinedLeaf, joined
from .module_proxy import plain
from .values import Proxy, ScalarProxy, TensorProxy

if TYPE_CHECKING:
    from .procedure import ProcedureRecorder


def record_cond(
    recorder: ProcedureRecorder,
    predicate: Any,
    true_fn: Callable[..., Any],
    false_fn: Callable[..., Any],
    operands: Sequence[Any],
) -> Any:
    """Record both functions; a predicate that is a Python bool chooses now."""
    operands = _sequence(recorder, "aot.cond", "operands", operands)
    if isinstance(predicate, bool):
        return (true_fn if predicate else false_fn)(*operands)
    chosen = _predicate(recorder, "aot.cond", predicate)
    dim_count = recorder.contracts.plan.count
    branches: list[Branch] = []
    for function in (true_fn, false_fn):
        with recorder.block() as steps:
            result = plain(function(*operands))
            branches.append(Branch.of(recorder, steps, result))
    structure, types, blocks = joined(recorder, branches[0], branches[1], dim_count)
    results = [_result(recorder, value_type, "aot.cond(...)") for value_type in types]
    ids = tuple(result.value for result in results)
    recorder.steps.append(Cond(ids, chosen.value, *blocks))
    return trees.map_leaves(
        lambda leaf: results[leaf.index] if isinstance(leaf, JoinedLeaf) else leaf, structure
    )


def record_while(
    recorder: ProcedureRecorder,
    cond_fn: Callable[..., Any],
    body_fn: Callable[..., Any],
    carried: Sequence[Any],
) -> Any:
    """Record a loop over a tuple of carried values."""
    names = _Names("aot.while_loop", "carried_inputs")
    carried = tuple(_sequence(recorder, names.operation, names.carried, carried))
    return _record_loop(recorder, names, cond_fn, body_fn, carried)


def record_fori(
    recorder: ProcedureRecorder,
    lower: Any,
    upper: Any,
    body_fn: Callable[[Any, Any], Any],
    initial: Any,
) -> Any:
    """Record a loop that counts."""
    names = _Names("aot.fori_loop", "init_val", is_counted=True)
    scalar = next((x for x in (lower, upper) if isinstance(x, ScalarProxy)), None)
    kind = scalar_type_of(0) if scalar is None else scalar.type
    if not kind.is_integer:
        raise _not_a_bound(recorder, scalar)
    for bound in (lower, upper):
        if isinstance(bound, bool) or not isinstance(bound, (int, ScalarProxy)):
            raise _not_a_bound(recorder, bound)
    if isinstance(upper, ScalarProxy) and upper.type != kind:
        kind = max(kind, upper.type, key=lambda one: scalars.ORDER.index(one.name))
    first, end = (scalars.adapted(recorder, x, kind, "a bound") for x in (lower, upper))
    result = _record_loop(
        recorder,
        names,
        lambda number, _: number < end,
        lambda number, value: (number + 1, body_fn(number, value)),
        (first, initial),
    )
    return result[1]


@dataclass(frozen=True, slots=True)
class _Names:
    """What messages call a loop and what it carries."""

    operation: str
    carried: str
    is_counted: bool = False

    def leaf(self, path: str) -> str:
        return f"{self.carried}{path.removeprefix('[1]') if self.is_counted else path}"


def _record_loop(
    recorder: ProcedureRecorder,
    names: _Names,
    cond_fn: Callable[..., Any],
    body_fn: Callable[..., Any],
    carried: tuple[Any, ...],
) -> tuple[Any, ...]:
    """Record a loop; leaves that are neither tensors nor numbers pass through unchanged."""
    carried = plain(carried)
    leaves = trees.leaves_with_paths(carried)
    recorder.owned([leaf.value for leaf in leaves])
    initial = [
        _as_carried(recorder, names, names.leaf(leaf.path), leaf.value)
        for leaf in leaves
        if _is_carried(leaf.value)
    ]

    def stand_ins() -> tuple[list[Proxy], tuple[Any, ...]]:
        proxies = [_result(recorder, proxy.type, proxy._name) for proxy in initial]
        supply = iter(proxies)
        rebuilt = trees.map_leaves(
            lambda leaf: next(supply) if _is_carried(leaf) else leaf, carried
        )
        return proxies, rebuilt

    with recorder.block() as condition_steps:
        arguments, values = stand_ins()
        goes_on = _predicate(recorder, f"{names.operation}: cond_fn", plain(cond_fn(*values)))
        condition = _block(arguments, condition_steps, [goes_on])
    with recorder.block() as body_steps:
        arguments, values = stand_ins()
        result = plain(body_fn(*values))
        next_values = _next_values(recorder, names, carried, initial, result)
        body = _block(arguments, body_steps, next_values)
    results, structure = stand_ins()
    recorder.steps.append(
        While(tuple(x.value for x in results), tuple(x.value for x in initial), condition, body)
    )
    return structure


def _next_values(
    recorder: ProcedureRecorder,
    names: _Names,
    carried: tuple[Any, ...],
    initial: Sequence[Proxy],
    result: Any,
) -> list[Proxy]:
    """Return what the body gives for each carried value, of exactly its type."""
    if len(carried) == 1 and not isinstance(result, (tuple, list)):
        result = (result,)
    if isinstance(result, list):
        result = tuple(result)
    before, after = trees.leaves_with_paths(carried), trees.leaves_with_paths(result)
    if [leaf.path for leaf in before] != [leaf.path for leaf in after]:
        raise TracingError(
            f"{names.operation}: the body returns another structure than it is given",
            where=recorder.where,
            location=recorder.user_location(),
            got=_listed([names.leaf(leaf.path) for leaf in after]),
            expected=_listed([names.leaf(leaf.path) for leaf in before]),
            fix=f"return a new value for every leaf of {names.carried}, in the same structure",
        )
    recorder.owned([leaf.value for leaf in after])
    supply = iter(initial)
    found: list[Proxy] = []
    for old, new in zip(before, after, strict=True):
        name = names.leaf(old.path)
        if _is_carried(old.value):
            found.append(_next_value(recorder, names, name, next(supply), new.value))
        elif old.value != new.value:
            raise _changed(recorder, names, name, repr(old.value), repr(new.value))
    return found


def _next_value(
    recorder: ProcedureRecorder, names: _Names, name: str, old: Proxy, new: Any
) -> Proxy:
    """Return the next value of one leaf: of exactly its type."""
    if isinstance(old, ScalarProxy):
        try:
            return scalars.adapted(recorder, new, old.type, name)
        except TracingError:
            raise _changed(recorder, names, name, str(old.type), _shown(new)) from None
    if not isinstance(new, TensorProxy):
        raise _changed(recorder, names, name, str(old.type), _shown(new))
    ours, theirs = old.type, new.type
    plan = recorder.contracts.plan
    is_same = ours.dtype == theirs.dtype and len(ours.shape) == len(theirs.shape)
    if not is_same or not all(
        plan.are_equal(a, b) for a, b in zip(ours.shape, theirs.shape, strict=True)
    ):
        raise _changed(recorder, names, name, str(old.type), str(new.type))
    return new


def _changed(
    recorder: ProcedureRecorder, names: _Names, name: str, old: str, new: str
) -> TracingError:
    is_tensor = "[" in old and "[" in new
    return TracingError(
        f"{names.operation}: the body changes the type of {name}",
        where=recorder.where,
        location=recorder.user_location(),
        got=new,
        expected=old,
        fix="carry a tensor of the final size and write into it with aot.IREE.tensor_update; or state "
        "that dims are equal, in constraints= of a call in the body"
        if is_tensor and old.split("[")[0] == new.split("[")[0]
        else "convert the first value or the returned one: both need one type",
    )


def _as_carried(recorder: ProcedureRecorder, names: _Names, name: str, value: Any) -> Proxy:
    """Return the first value of a leaf as a stand-in; dims that are known to be fixed are."""
    if isinstance(value, (bool, int, float)):
        kind = scalar_type_of(value)
        return scalars.adapted(recorder, value, kind, name)
    if isinstance(value, torch.Tensor):
        raise TracingError(
            f"{names.operation}: {name} is a tensor with data",
            where=recorder.where,
            location=recorder.user_location(),
            got=f"a torch.Tensor of shape {list(value.shape)}",
            expected="values of the procedure, and numbers",
            fix="make it in a jittable, or with aot.IREE.tensor_splat(..., value=0)",
        )
    return type(value)(recorder, value.value, value.type, name)


def _is_carried(leaf: Any) -> bool:
    return isinstance(leaf, (TensorProxy, ScalarProxy, bool, int, float, torch.Tensor))


def _predicate(recorder: ProcedureRecorder, operation: str, given: Any) -> ScalarProxy:
    """Return a bool scalar; of a bool tensor its one element."""
    if isinstance(given, (tuple, list)) and len(given) == 1:
        given = given[0]
    recorder.owned([given])
    if isinstance(given, bool):
        return recorder.constant(given, AbstractBool)
    if isinstance(given, TensorProxy) and given.dtype is torch.bool:
        if all(dim == 1 for dim in given.type.shape):
            return given.item()
    elif isinstance(given, ScalarProxy) and given.type == AbstractBool:
        return given
    raise TracingError(
        f"{operation}: the predicate is no bool",
        where=recorder.where,
        location=recorder.user_location(),
        got=_shown(given),
        expected="a comparison of scalars, or a bool tensor of one element",
        fix="compare: n > 0; for a tensor, compute the bool in a jittable: (x > 0).all()",
    )


def _sequence(recorder: ProcedureRecorder, operation: str, name: str, given: Any) -> Sequence[Any]:
    given = plain(given)
    if isinstance(given, (tuple, list)):
        return given
    raise TracingError(
        f"{operation}: {name} is not a tuple",
        where=recorder.where,
        location=recorder.user_location(),
        got=_shown(given),
        expected="a tuple or list, with one entry for each argument of the functions",
        fix=f"{name}=(x,)",
    )


def _not_a_bound(recorder: ProcedureRecorder, given: Any) -> TracingError:
    return TracingError(
        "aot.fori_loop counts from an integer to an integer",
        where=recorder.where,
        location=recorder.user_location(),
        got=_shown(given),
        expected="ints, or scalars of type index, i64 or i32",
        fix="x.item() reads the one element of an integer tensor as a scalar",
    )


def _result(recorder: ProcedureRecorder, value_type: Any, name: str) -> Proxy:
    """Make the stand-in for a result or an argument of a block."""
    value = recorder.new_value(value_type)
    if isinstance(value_type, AbstractScalar):
        return ScalarProxy(recorder, value, value_type, name)
    recorder.contracts.locate(value, name, value_type.shape)
    return TensorProxy(recorder, value, value_type, name)


def _block(arguments: Sequence[Proxy], steps: list[Step], results: Sequence[Proxy]) -> Block:
    return Block(tuple(x.value for x in arguments), tuple(steps), tuple(x.value for x in results))


def _shown(value: Any) -> str:
    if isinstance(value, (TensorProxy, ScalarProxy)):
        return f"{value._name}: {value.type}"
    return repr(value) if trees.is_leaf(value) else f"a structure: {value!r}"


def _listed(paths: list[str]) -> str:
    return ", ".join(paths) or "nothing"
