# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`aot.jittable`: torch functions that procedures call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, overload

import torch

from shark_turbine.decompositions import extend_aot_decompositions
from shark_turbine.errors import DeclarationError, SourceLocation

from ..dims import DimConstraint
from ..spec import Jittable
from .naming import function_symbol

Function = Callable[..., Any]
Table = Mapping[Any, Function]
CallConstraints = Callable[..., Sequence[DimConstraint]]


@overload
def jittable(
    f: Function,
    *,
    decompose_ops: Sequence[Any] | None = None,
    decomposition_table: Table | None = None,
    constraints: CallConstraints | None = None,
    function_name: str | None = None,
) -> Jittable: ...


@overload
def jittable(
    f: None = None,
    *,
    decompose_ops: Sequence[Any] | None = None,
    decomposition_table: Table | None = None,
    constraints: CallConstraints | None = None,
    function_name: str | None = None,
) -> Callable[[Function], Jittable]: ...


def jittable(
    f: Function | None = None,
    *,
    decompose_ops: Sequence[Any] | None = None,
    decomposition_table: Table | None = None,
    constraints: CallConstraints | None = None,
    function_name: str | None = None,
) -> Jittable | Callable[[Function], Jittable]:
    """Declare a torch function that procedures can call; outside a trace it runs eagerly.

    Use it as a decorator in the class body (no `self`), as an attribute
    (`compute = aot.jittable(model.forward)`), or inline.

    Args:
        f: a function, bound method or `torch.nn.Module`. It takes and returns structures of
            tensors and numbers; in-place operations are functionalized; tensors that it captures
            read the module's globals where they are exported and are constants where not.
        decompose_ops: operators to decompose in addition to the default table.
        decomposition_table: replaces the default table (see `current_aot_decompositions`).
        constraints: called with the arguments of every call, returns its dim constraints:
            `lambda a, b: [a.dynamic_dim(0) == b.dynamic_dim(0)]`.
        function_name: the function's name in MLIR; by default the Python name.

    Raises:
        DeclarationError: `f` cannot be called, or `constraints` is not a function.
    """
    if f is None:

        def decorate(function: Function) -> Jittable:
            return jittable(
                function,
                decompose_ops=decompose_ops,
                decomposition_table=decomposition_table,
                constraints=constraints,
                function_name=function_name,
            )

        return decorate
    if isinstance(f, Jittable):
        return f
    if not callable(f):
        raise DeclarationError(
            "aot.jittable takes something to call",
            got=repr(f),
            expected="a function, a bound method or a torch.nn.Module",
            fix="compute = aot.jittable(model.forward)",
        )
    if constraints is not None and not callable(constraints):
        raise DeclarationError(
            "the constraints of a jittable need the arguments of a call",
            got=repr(constraints),
            expected="a function of the call's arguments, or constraints=[...] at the call",
            fix="constraints=lambda a, b: [a.dynamic_dim(0) == b.dynamic_dim(0)]",
        )
    return Jittable(
        function=f,
        name=function_name or _default_name(f),
        decomposition_table=_table(decompose_ops, decomposition_table),
        constraints=constraints,
        location=_location(f),
    )


def _table(decompose_ops: Sequence[Any] | None, table: Table | None) -> Table | None:
    if decompose_ops is None:
        return table
    with extend_aot_decompositions(from_current=table is None, add_ops=decompose_ops) as extended:
        return {**(table or {}), **extended}


def _default_name(function: Function) -> str:
    return "forward" if isinstance(function, torch.nn.Module) else function_symbol(function)


def _location(function: Function) -> SourceLocation | None:
    inner = function.forward if isinstance(function, torch.nn.Module) else function
    code = getattr(getattr(inner, "__func__", inner), "__code__", None)
    return None if code is None else SourceLocation.from_function(code)
