# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Calls of one procedure by another: its method runs inside the caller, on the caller's values.

What the called procedure declares of its arguments holds for the call: types now, sizes that are not known
yet when it runs.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shark_turbine import trees
from shark_turbine.errors import DimensionError, TracingError

from ..dims import Dim, DimConstraint, DimVar
from ..spec import ParameterSpec, ProcedureSpec, describe
from ..types import AbstractScalar, AbstractTensor
from . import scalars
from .module_proxy import ModuleProxy, plain
from .values import ScalarProxy, TensorProxy

if TYPE_CHECKING:
    from .procedure import ProcedureRecorder


def record_procedure_call(
    recorder: ProcedureRecorder,
    spec: ProcedureSpec,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> Any:
    """Record what a procedure does as a part of another one, and return its result.

    Raises:
        TracingError: it is called by itself, or with other arguments than it declares.
        DimensionError: a size is not the declared one.
    """
    if spec in recorder.calling:
        road = [f"self.{one.name}" for one in (*recorder.calling, spec)]
        raise TracingError(
            f"self.{spec.name} calls itself: a compiled procedure cannot be recursive",
            where=recorder.where,
            location=recorder.user_location(),
            got=" calls ".join(road),
            expected="procedures that call others, in no circle",
            fix="loop with aot.while_loop or aot.fori_loop, and carry what changes",
        )
    given = _bound(recorder, spec, args, kwargs)
    names: dict[str, Dim] = {}
    values = {
        parameter.name: _argument(recorder, spec, parameter, given[parameter.name], names)
        for parameter in spec.parameters
    }
    positional = [values[one.name] for one in spec.parameters if not one.keyword_only]
    keywords = {one.name: values[one.name] for one in spec.parameters if one.keyword_only}
    recorder.calling.append(spec)
    try:
        return plain(spec.function(ModuleProxy(recorder), *positional, **keywords))
    finally:
        recorder.calling.pop()


def _bound(
    recorder: ProcedureRecorder,
    spec: ProcedureSpec,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> dict[str, Any]:
    """Give every parameter its argument; the defaults are types, not values."""
    try:
        bound = inspect.signature(spec.function).bind(None, *args, **kwargs).arguments
        missing = [one.name for one in spec.parameters if one.name not in bound]
        problem = f"missing a required argument: {missing[0]!r}" if missing else ""
    except TypeError as failure:
        bound, problem = {}, str(failure)
    if not problem:
        return dict(bound)
    given = [*("..." for _ in args), *(f"{name}=..." for name in kwargs)]
    raise TracingError(
        f"self.{spec.name} is called with other arguments than it declares: {problem}",
        where=recorder.where,
        location=recorder.user_location(),
        got=f"self.{spec.name}({', '.join(given)})",
        expected=f"{spec.name}({', '.join(str(one) for one in spec.parameters)})",
        fix="pass a value for every parameter: what stands as a default is a type",
    )


def _argument(
    recorder: ProcedureRecorder,
    spec: ProcedureSpec,
    parameter: ParameterSpec,
    given: Any,
    names: dict[str, Dim],
) -> Any:
    """Return an argument as the called procedure sees it: stand-ins of its own, of declared types."""
    given = plain(given)
    declared, found = trees.leaves_with_paths(parameter.value), trees.leaves_with_paths(given)
    if [leaf.path for leaf in declared] != [leaf.path for leaf in found]:
        raise _unfit(recorder, spec, parameter.name, parameter.value, given)
    recorder.owned([leaf.value for leaf in found])
    return trees.unflatten(
        parameter.value,
        [
            _leaf(recorder, spec, parameter.name + old.path, old.value, new.value, names)
            for old, new in zip(declared, found, strict=True)
        ],
    )


def _leaf(
    recorder: ProcedureRecorder,
    spec: ProcedureSpec,
    name: str,
    declared: Any,
    given: Any,
    names: dict[str, Dim],
) -> Any:
    if isinstance(declared, AbstractScalar):
        try:
            scalar = scalars.adapted(recorder, given, declared, name)
        except TracingError:
            raise _unfit(recorder, spec, name, declared, given) from None
        return ScalarProxy(recorder, scalar.value, declared, name)
    is_tensor = isinstance(given, TensorProxy) and isinstance(declared, AbstractTensor)
    if not is_tensor or given.dtype != declared.dtype or given.ndim != len(declared.size):
        raise _unfit(recorder, spec, name, declared, given)
    for axis, wanted in enumerate(declared.size):
        dim = given.type.shape[axis]
        if isinstance(wanted, str):
            wanted = names.setdefault(wanted, dim)
        if wanted is not None:
            _require_equal(recorder, spec, f"{name}.shape[{axis}]", dim, wanted)
    return TensorProxy(recorder, given.value, given.type, name)


def _require_equal(
    recorder: ProcedureRecorder, spec: ProcedureSpec, label: str, dim: Dim, wanted: Dim
) -> None:
    """Hold a size to what was declared: compare it now, or when the artifact runs."""
    plan = recorder.contracts.plan
    if plan.are_equal(dim, wanted):
        return
    if isinstance(wanted, DimVar) and not isinstance(dim, DimVar):
        dim, wanted = wanted, dim
    if isinstance(dim, DimVar):
        constraint = DimConstraint(dim, "==", wanted)
        recorder.steps.extend(recorder.contracts.add(constraint, recorder.user_location()))
        return
    raise DimensionError(
        f"self.{spec.name} is called with a tensor of another size than it declares",
        where=recorder.where,
        location=recorder.user_location(),
        got=f"{label} is {dim}",
        expected=f"{wanted}",
        fix=f"pass a tensor of the declared shape, or declare the dim of {spec.name} dynamic: None",
    )


def _unfit(
    recorder: ProcedureRecorder, spec: ProcedureSpec, name: str, declared: Any, given: Any
) -> TracingError:
    def shown(leaf: Any) -> str:
        if isinstance(leaf, (TensorProxy, ScalarProxy)):
            return str(leaf.type)
        return describe(leaf)

    return TracingError(
        f"self.{spec.name} is called with another {name} than it declares",
        where=recorder.where,
        location=recorder.user_location(),
        got=str(trees.map_leaves(shown, given)).replace("'", ""),
        expected=str(trees.map_leaves(describe, declared)).replace("'", ""),
        fix="convert it in a jittable, or change the declaration",
    )
