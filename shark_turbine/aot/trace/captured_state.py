# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Tensors that a torch function captures: which are globals of the module, which are constants."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from types import FunctionType
from typing import Any

import torch
from torch.export.graph_signature import OutputKind

from shark_turbine.errors import TracingError

from ..spec import GlobalSpec, tensor_identity
from .export_errors import CallDescription

WRITES_STATE = tuple(
    kind for kind in OutputKind if kind.name in ("BUFFER_MUTATION", "PARAMETER_MUTATION")
)

StateBinder = Callable[[torch.export.ExportedProgram, CallDescription], Mapping[str, str]]


def captured_modules(function: Callable[..., Any]) -> list[torch.nn.Module]:
    """Return the nn.Modules that a callable reaches: itself, its self, its closure and globals.

    torch.export names parameters by their place in a module; a module that is only captured has to
    be made part of the traced one for that.
    """
    found: dict[int, torch.nn.Module] = {}
    for value in _reached(function):
        for module in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(module, torch.nn.Module):
                found.setdefault(id(module), module)
    inner = {
        id(child) for module in found.values() for child in module.modules() if child is not module
    }
    return [module for key, module in found.items() if key not in inner]


def _reached(function: Callable[..., Any]) -> Iterable[Any]:
    yield function
    yield getattr(function, "__self__", None)
    inner = inspect.unwrap(getattr(function, "__func__", function))
    yield from getattr(function, "args", ())  # functools.partial
    if isinstance(getattr(function, "func", None), Callable):
        yield from _reached(function.func)  # type: ignore[attr-defined]
    if isinstance(inner, FunctionType):
        variables = inspect.getclosurevars(inner)
        yield from variables.nonlocals.values()
        yield from variables.globals.values()
        for value in (*variables.nonlocals.values(), *variables.globals.values()):
            if isinstance(value, FunctionType) and value is not inner:
                yield from inspect.getclosurevars(value).nonlocals.values()


class GlobalIndex:
    """Finds the global that stands for a tensor."""

    def __init__(self, specs: Iterable[GlobalSpec]) -> None:
        self._by_tensor = {
            tensor_identity(tensor): spec for spec in specs for tensor in spec.identities
        }
        self._mutable_storage = {
            _storage(tensor): spec
            for spec in self._by_tensor.values()
            for tensor in spec.identities
            if spec.mutable and tensor.numel()
        }

    def find(self, tensor: torch.Tensor) -> GlobalSpec | None:
        return self._by_tensor.get(tensor_identity(tensor))

    def bind(
        self, program: torch.export.ExportedProgram, description: CallDescription
    ) -> dict[str, str]:
        """Map the state of a program to globals, by target; the rest are constants.

        Raises:
            TracingError: the program changes state that is no mutable global.
        """
        state: dict[str, Any] = {**program.constants, **program.state_dict}
        found = {
            target: self.find(tensor)
            for target, tensor in state.items()
            if isinstance(tensor, torch.Tensor)
        }
        for target, spec in found.items():
            if spec is None:
                self._check_not_a_view(state[target], description)
        for output in program.graph_signature.output_specs:
            if output.kind in WRITES_STATE:
                kind = output.kind.name.split("_")[0].lower()
                target = str(output.target)
                _check_mutable(kind, target, found.get(target), description)
        return {target: spec.symbol for target, spec in found.items() if spec is not None}

    def _check_not_a_view(self, tensor: torch.Tensor, description: CallDescription) -> None:
        """Refuse another view of mutable state: as a constant it would never change."""
        is_plain = tensor.layout is torch.strided and tensor.numel() > 0
        spec = self._mutable_storage.get(_storage(tensor)) if is_plain else None
        if spec is None:
            return
        raise TracingError(
            f"{description.function} captures a view of self.{spec.label}, a mutable global: the "
            "view would keep today's values",
            where=description.where,
            location=description.location,
            got=f"a tensor of shape {list(tensor.shape)} over the memory of self.{spec.label}",
            expected="the global itself, or tensors that share no memory with mutable globals",
            fix=f"pass self.{spec.label} to {description.function}, and take the view inside",
        )


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _check_mutable(
    kind: str, target: str, spec: GlobalSpec | None, description: CallDescription
) -> None:
    if spec is not None and spec.mutable:
        return
    name = target.removeprefix("captured_0.")
    raise TracingError(
        f"{description.function} changes the {kind} {name!r}, which is not a mutable global",
        where=description.where,
        location=description.location,
        got="a constant" if spec is None else str(spec),
        expected=f"every {kind} that is written to is a mutable global",
        fix=f"{kind}s = aot.export_{kind}s(model, mutable=True), or model.eval() before exporting",
    )
