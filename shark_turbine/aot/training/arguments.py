# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The arguments of a training step: those of the model, then the targets of the loss."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from shark_turbine.errors import DeclarationError, DimensionError

_WHERE = "aot.export_training"
_KIND = inspect.Parameter.POSITIONAL_OR_KEYWORD


@dataclass(frozen=True, slots=True)
class Arguments:
    """Example arguments with the names under which the compiled functions take them.

    `shapes` says by name which dims are dynamic; None: no dim of any argument is.
    """

    inputs: Mapping[str, Any]
    targets: Mapping[str, Any]
    keywords: Mapping[str, Any]
    shapes: Mapping[str, Any] | None

    @property
    def step_arguments(self) -> tuple[Any, ...]:
        """The positional arguments of a training step."""
        return (*self.inputs.values(), *self.targets.values())

    @property
    def step_signature(self) -> inspect.Signature:
        """The signature of a training step."""
        return _signature([*self.inputs, *self.targets], self.keywords)

    @property
    def step_shapes(self) -> Mapping[str, Any] | None:
        """The dynamic dims of a training step."""
        return self.shapes

    @property
    def model_shapes(self) -> Mapping[str, Any] | None:
        """The dynamic dims of the model alone."""
        if self.shapes is None:
            return None
        return {name: self.shapes[name] for name in (*self.inputs, *self.keywords)}


def collect_arguments(
    model: torch.nn.Module,
    loss: Callable[..., Any],
    args: Any,
    targets: Any,
    kwargs: Mapping[str, Any] | None,
    dynamic_shapes: Any,
) -> Arguments:
    """Give each example argument its name.

    Raises:
        DeclarationError: they are no sequences.
        DimensionError: `dynamic_shapes` speaks of other arguments.
    """
    for option, given in (("args", args), ("targets", targets)):
        if not isinstance(given, (tuple, list)):
            raise DeclarationError(
                f"{option} is a sequence: one example for each argument",
                where=_WHERE,
                got=f"{option}: a {type(given).__name__}",
                expected="a tuple or a list",
                fix=f"{option}=({'x' if option == 'args' else 'y'},)",
            )
    keywords = dict(kwargs or {})
    names = _names(model.forward, len(args), skip=0, otherwise="arg")
    taken = {*names, *keywords}
    wanted = _names(_forward_of(loss), len(targets), skip=1, otherwise="target")
    inputs = dict(zip(names, args, strict=True))
    named = {_free(name, taken): value for name, value in zip(wanted, targets, strict=True)}
    shapes = _shapes(dynamic_shapes, [*inputs, *named, *keywords])
    return Arguments(inputs, named, keywords, shapes)


def _forward_of(loss: Callable[..., Any]) -> Callable[..., Any]:
    return loss.forward if isinstance(loss, torch.nn.Module) else loss


def _names(function: Callable[..., Any], count: int, *, skip: int, otherwise: str) -> list[str]:
    """Return names for positional arguments: those of a function, as far as it has any."""
    try:
        parameters = list(inspect.signature(function).parameters.values())[skip:]
    except (TypeError, ValueError):
        parameters = []
    plain = (inspect.Parameter.POSITIONAL_ONLY, _KIND)
    names = [parameter.name for parameter in parameters if parameter.kind in plain][:count]
    return [*names, *(f"{otherwise}{index}" for index in range(len(names), count))]


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name = f"loss_{name}"
    taken.add(name)
    return name


def _signature(positional: Sequence[str], keywords: Mapping[str, Any]) -> inspect.Signature:
    return inspect.Signature(
        [
            *(inspect.Parameter(name, _KIND) for name in positional),
            *(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in keywords),
        ]
    )


def _shapes(given: Any, names: Sequence[str]) -> Mapping[str, Any] | None:
    """Line up `dynamic_shapes`, by name or by position, with all arguments of a training step."""
    if given is None:
        return None
    if isinstance(given, Mapping):
        unknown = [str(name) for name in given if name not in names]
        if not unknown:
            return {name: given.get(name) for name in names}
        got = ", ".join(unknown)
    elif len(given) == len(names):
        return dict(zip(names, given, strict=True))
    else:
        got = f"{len(given)} shapes"
    raise DimensionError(
        "dynamic_shapes does not fit the arguments of the training step",
        where=_WHERE,
        got=got,
        expected=f"the arguments of train_step: {', '.join(names)}",
        fix=f'dynamic_shapes={{"{names[0]}": {{0: torch.export.Dim("batch")}}, ...}}',
    )
