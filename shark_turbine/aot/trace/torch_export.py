# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""torch.export of a whole nn.Module or function, with its failures in the user's words."""

from __future__ import annotations

import ctypes
import inspect
import re
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import torch
from torch.fx import proxy as _fx_proxy

from shark_turbine import dtypes, trees
from shark_turbine.errors import DeclarationError, SourceLocation, TracingError

from .captured_state import captured_modules
from .dim_names import dim_names
from .export_errors import CallDescription, explain_export_failure, users_own
from .lending import lent_tensors
from .quiet import quiet_torch

# torch's two warnings, without TorchDynamo and with it.
_ASSIGNED = re.compile(
    r"tensor attributes? (?P<name>self\.\S+).*assigned during export"
    r"""|side effects.*\["L\['self'\]"""
)


def export_module(
    target: torch.nn.Module | Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    dynamic_shapes: Any,
    strict: bool,
    label: str,
) -> tuple[torch.export.ExportedProgram, dict[str, str]]:
    """Export a module, or a function (always without TorchDynamo, which wants a module).

    Returns the program, and what the user calls the symbols of its dynamic dims.

    Raises:
        DimensionError: the program needs more of a dynamic dim than `dynamic_shapes` says.
        TracingError: torch.export cannot trace the program.
    """
    is_module = isinstance(target, torch.nn.Module)
    strict = strict and is_module
    _check_arguments(target, args, kwargs, label)
    args, kwargs = _as_different_tensors(args, kwargs)
    module = target if is_module else _FunctionModule(target)
    description = CallDescription(label, label, _location(target))
    try:
        program, said = _export(module, args, kwargs, dynamic_shapes, strict)
    except Exception as failure:
        simplest, by_dynamo = _simplest_failure(
            failure,
            lambda shapes: _export(module, args, kwargs, shapes, False),
            dynamic_shapes,
            strict,
        )
        error = explain_export_failure(simplest, description)
        if by_dynamo and isinstance(error, TracingError):
            error.fix = "aot.export(..., strict_export=False) traces it without TorchDynamo"
            error.name_place(description.where)
        raise error from failure
    _warn_of_python_state(label, program, said)
    function = target.forward if is_module else target
    return program, dim_names(program, function, args, kwargs, dynamic_shapes)


def _export(
    module: torch.nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    dynamic_shapes: Any,
    strict: bool,
) -> tuple[torch.export.ExportedProgram, list[str]]:
    """Return the program, and what torch warned of."""
    try:
        with quiet_torch(), lent_tensors(), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            program = torch.export.export(
                module, args, dict(kwargs), dynamic_shapes=dynamic_shapes, strict=strict
            )
    finally:
        if strict:
            _return_freed_memory()
    return program, [str(warning.message) for warning in caught]


def _as_different_tensors(
    args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """Return example arguments in which no tensor stands twice.

    torch.export takes one tensor at two places for one argument: its program reads the last of the
    two only, and computes something else when they differ.
    """
    seen: set[int] = set()

    def different(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        if id(value) in seen:
            return value.detach().clone().requires_grad_(value.requires_grad)
        seen.add(id(value))
        return value

    return trees.map_leaves(different, (args, kwargs))


def _warn_of_python_state(
    label: str, program: torch.export.ExportedProgram, messages: list[str]
) -> None:
    """Pass on, in our words, that `forward` assigns attributes: a compiled function forgets them.

    With TorchDynamo torch does not say which; where buffers are written it may mean these.
    """
    writes_buffers = any(
        isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable
        for node in program.graph.nodes
    )
    for message in messages:
        assigned = _ASSIGNED.search(message)
        if assigned is None or (assigned["name"] is None and writes_buffers):
            continue
        warnings.warn(
            f"{label}.forward changes {assigned['name'] or 'an attribute of the module'}, and a "
            "compiled function keeps no Python state: each call sees what was there at export. "
            "Register the tensor with register_buffer(), and it becomes a mutable global.",
            UserWarning,
            stacklevel=4,
        )
        return


def _return_freed_memory() -> None:
    """Give the C library's free memory back: TorchDynamo copied every parameter and dropped it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _simplest_failure(
    failure: Exception, export_plainly: Callable[[Any], Any], dynamic_shapes: Any, strict: bool
) -> tuple[Exception, bool]:
    """Return the failure of the simplest export that fails too, and whether TorchDynamo is to blame.

    What fails on the example's own sizes is no fault of its dynamic dims, and what fails without
    TorchDynamo is best said without it: its own words are its own.
    """
    simpler = [None] if dynamic_shapes is not None else []
    if strict:
        simpler.append(dynamic_shapes)
    for shapes in simpler:
        try:
            export_plainly(shapes)
        except Exception as simple:
            return simple, False
    return failure, strict


def _check_arguments(
    target: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], label: str
) -> None:
    function = target.forward if isinstance(target, torch.nn.Module) else target
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # A callable without a signature: torch.export will say what it thinks of it.
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as failure:
        given = [*("..." for _ in args), *(f"{name}=..." for name in kwargs)]
        raise DeclarationError(
            f"the example arguments do not fit the function: {failure}",
            where=label,
            location=users_own(_location(target)),
            got=f"{label}({', '.join(given)})",
            expected=f"{label}{signature}",
            fix="pass an example for every argument that has no default",
        ) from None
    for name, value in bound.arguments.items():
        for leaf in trees.leaves_with_paths(value):
            if isinstance(leaf.value, torch.Tensor):
                dtypes.from_torch(leaf.value.dtype, what=f"{label}: argument {name}{leaf.path}")


class _FunctionModule(torch.nn.Module):
    """A function as a module: its parameters keep their names, what it captures its place."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self._function = (function,)
        for index, module in enumerate(captured_modules(function)):
            self.add_module(f"captured_{index}", module)
        inner = getattr(function, "__func__", function)
        if getattr(inner, "__code__", None) is not None:
            _fx_proxy._register_stack_trace_anchor(inner)

        # torch notes the lines of frames called `forward` as the user's; this one is not.
        def call(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        with suppress(ValueError):  # Builtins have no signature; their arguments have no names.
            call.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
        self.forward = call


def _location(target: Any) -> SourceLocation | None:
    function = target.forward if isinstance(target, torch.nn.Module) else target
    # Decorated functions name what they wrap: transformers decorates every `forward`.
    code = getattr(inspect.unwrap(getattr(function, "__func__", function)), "__code__", None)
    return None if code is None else SourceLocation.from_function(code)
