# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The call that is measured: a function and its flat arguments, checked against the signature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

import numpy as np
import torch

from shark_turbine import dtypes, trees
from shark_turbine.errors import ArgumentError
from shark_turbine.signature import (
    Argument,
    Constant,
    FunctionSignature,
    Leaf,
    MappingTree,
    SequenceTree,
    Tree,
    build,
)


@dataclass(frozen=True, slots=True)
class Call:
    """A function and its flat arguments, in the order of the signature: tensors and numbers."""

    function: str
    leaves: tuple[Any, ...]

    @property
    def shapes(self) -> tuple[str, ...]:
        """What the arguments look like: `f32[2, 3]`; numbers by their values."""
        return tuple(map(_shape, self.leaves))

    def structured(self, signature: FunctionSignature) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments as a loaded function of this signature takes them."""
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for parameter in signature.parameters:
            value = build(parameter.tree, self.leaves)
            if parameter.keyword_only:
                kwargs[parameter.name] = value
            else:
                args.append(value)
        return args, kwargs


def bind(
    signature: FunctionSignature, args: Sequence[Any], kwargs: Mapping[str, Any], where: str
) -> Call:
    """Return the call of a function with arguments as a user gives them, copied.

    Raises:
        ArgumentError: they are not what the function was exported for.
    """
    named = [parameter for parameter in signature.parameters if not parameter.keyword_only]
    if len(args) > len(named):
        raise ArgumentError(
            f"{signature.name} takes fewer arguments",
            where=where,
            got=f"{len(args)} positional arguments",
            expected=str(signature),
        )
    given = dict(zip((parameter.name for parameter in named), args, strict=False))
    for name, value in kwargs.items():
        if name in given or all(name != parameter.name for parameter in signature.parameters):
            problem = "is given twice" if name in given else "is none of its arguments"
            raise ArgumentError(
                f"{signature.name}: {name} {problem}", where=where, expected=str(signature)
            )
        given[name] = value
    binder = _Binder(signature, where)
    for parameter in signature.parameters:
        if parameter.name in given:
            binder.take(parameter.tree, given[parameter.name], parameter.name)
        elif not isinstance(parameter.tree, Constant):
            raise ArgumentError(
                f"{signature.name}: {parameter.name} is missing",
                where=where,
                expected=str(signature),
                fix=f"tune(args=(...), kwargs={{{parameter.name!r}: ...}})",
            )
    leaves = tuple(binder.leaves[index] for index in range(len(signature.arguments)))
    return Call(signature.name, leaves)


class _Binder:
    """Flattens arguments along the trees of a signature."""

    def __init__(self, signature: FunctionSignature, where: str) -> None:
        self._signature = signature
        self._where = where
        self._sizes: dict[str, int] = {}
        self.leaves: dict[int, Any] = {}

    def take(self, tree: Tree, value: Any, path: str) -> None:
        match tree:
            case Leaf(index):
                self.leaves[index] = self._checked(self._signature.arguments[index], value)
            case Constant(constant):
                if not (type(value) is type(constant) and value == constant):
                    raise self._error(f"{path} was exported as {constant!r}", value)
            case SequenceTree(_, items):
                children = [child for _, child in trees.children(value)]
                if len(children) != len(items):
                    raise self._error(f"{path} is a sequence of {len(items)}", value)
                for number, (item, child) in enumerate(zip(items, children, strict=True)):
                    self.take(item, child, f"{path}[{number}]")
            case MappingTree(items):
                children = dict(trees.children(value))
                if set(children) != {key for key, _ in items}:
                    raise self._error(f"{path} has the keys {[key for key, _ in items]}", value)
                for key, item in items:
                    self.take(item, children[key], f"{path}[{key!r}]")
            case _:
                assert_never(tree)

    def _checked(self, argument: Argument, value: Any) -> Any:
        kind = argument.type
        if kind.shape is None:
            if isinstance(value, (bool, int, float)):
                return value
            raise self._error(f"{argument.name} is a number ({kind.dtype})", value)
        if isinstance(value, (np.ndarray, np.generic)):
            value = torch.from_numpy(np.ascontiguousarray(value))
        if not isinstance(value, torch.Tensor):
            raise self._error(f"{argument.name} is a tensor ({kind})", value)
        fits = len(value.shape) == len(kind.shape) and all(
            size == (dim if isinstance(dim, int) else self._sizes.setdefault(dim, size))
            for dim, size in zip(kind.shape, value.shape, strict=True)
        )
        if not fits or dtypes.from_torch(value.dtype, what=argument.name).name != kind.dtype:
            raise self._error(f"{argument.name} is {kind}", value)
        # A copy holds its own elements only, and no later write of the caller's is seen.
        return value.detach().cpu().clone(memory_format=torch.contiguous_format)

    def _error(self, what: str, value: Any) -> ArgumentError:
        return ArgumentError(
            f"{self._signature.name}: {what}",
            where=self._where,
            got=_shape(value) if isinstance(value, torch.Tensor) else repr(value)[:80],
            expected=str(self._signature),
        )


def _shape(value: Any) -> str:
    if not isinstance(value, torch.Tensor):
        return repr(value)
    return f"{dtypes.from_torch(value.dtype).name}[{', '.join(map(str, value.shape))}]"
