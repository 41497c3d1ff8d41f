# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What PyTorch computes where a compiled program is called: the results that others are compared with."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from shark_turbine import trees
from shark_turbine.errors import TuningError

from .program import Program
from .spec import External, ModuleSpec, ProgramSpec

Results = tuple[tuple[tuple[Any, ...], ...], ...]


@dataclass(frozen=True, slots=True)
class EagerCall:
    """A function of a program and its arguments, as a user gives them."""

    function: str
    args: Sequence[Any]
    kwargs: Mapping[str, Any]


class EagerTwin:
    """An exported program in eager PyTorch.

    Args:
        program, spec: what was exported.
        original: the nn.Module or function that was exported, if it was one.
    """

    def __init__(
        self, program: Program, spec: ModuleSpec, original: Callable[..., Any] | None
    ) -> None:
        self._program = program
        self._spec = spec
        self._original = original

    def results(self, calls: Sequence[EagerCall], rounds: int) -> Results | None:
        """Return the flat results of each call, for each round from the initial state.

        None is returned where there is no twin: for procedures, weights that come from a file,
        programs that are rewritten, and functions that share state.

        Raises:
            TuningError: PyTorch fails with these arguments.
        """
        if self._differs() or (self._program.is_stateful and len(calls) > 1):
            return None
        twins = [self._of(call.function) for call in calls]
        results: list[tuple[tuple[Any, ...], ...]] = []
        for _ in range(rounds):
            found: list[tuple[Any, ...]] = []
            for twin, call in zip(twins, calls, strict=True):
                if twin is None:
                    return None
                found.append(_run(twin, call, self._spec.label))
            results.append(tuple(found))
        return tuple(results)

    def _differs(self) -> bool:
        """Return whether what was compiled has other weights, or computes something else."""
        return bool(self._spec.rewrites) or any(
            isinstance(item.initial, External) and not isinstance(item.initial.value, torch.Tensor)
            for item in self._program.globals
        )

    def _of(self, function: str) -> Callable[..., Any] | None:
        """Return what computes a function, with a state of its own."""
        member = self._spec.members.get(function)
        if not isinstance(member, ProgramSpec):
            return None
        if self._original is None:
            return member.program.module()
        if not self._program.is_stateful:
            return self._original
        if not isinstance(self._original, torch.nn.Module):
            return None
        shared = {id(parameter): parameter for parameter in self._original.parameters()}
        return copy.deepcopy(self._original, shared)


def _run(twin: Callable[..., Any], call: EagerCall, where: str) -> tuple[Any, ...]:
    args, kwargs = trees.map_leaves(_own, (tuple(call.args), dict(call.kwargs)))
    try:
        with torch.no_grad():
            results = twin(*args, **kwargs)
    except Exception as error:
        raise TuningError(
            f"{call.function} fails in eager PyTorch with these arguments",
            where=where,
            got=f"{type(error).__name__}: {error}"[:300],
            expected="arguments that the program runs with",
        ) from error
    return tuple(
        leaf.detach().clone() if isinstance(leaf, torch.Tensor) else leaf
        for leaf in trees.leaves(results)
    )


def _own(value: Any) -> Any:
    """Return a copy of an argument: a model may write to it."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    return torch.as_tensor(value).clone() if hasattr(value, "__array__") else value
