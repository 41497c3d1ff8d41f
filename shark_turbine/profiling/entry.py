# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`profile`: the one function of the room that users call."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from shark_turbine.errors import ArgumentError
from shark_turbine.runtime import LoadedFunction, LoadedModule
from shark_turbine.runtime.artifact import Mappable
from shark_turbine.runtime.replay import Replay, replay

from .calls import watch_calls
from .pieces import Piece, profile_of

_TIMEOUT = 600.0


def profile(
    target: Any,
    args: Sequence[Any] | Any = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    function: str = "main",
    device: str | None = None,
    parameters: Any = None,
    runs: int = 10,
    timeout: float | None = _TIMEOUT,
) -> Any:
    """Measure where the time of a call goes, dispatch by dispatch.

    The artifact is profiled as it is: the same code, arguments, parameters and device run in a child
    process that records what the device does. State begins with its initial values there, and what
    the calls store is forgotten.

    Args:
        target: a vmfb – a path, bytes, or what `compile()` returned –, a loaded module or one of its
            functions; or any function that calls compiled code: one of
            `torch.compile(..., backend="turbine_cpu")`, or one of yours.
        args: the positional arguments; one tensor may stand for itself.
        kwargs: the arguments by keyword.
        function: which function of a module.
        device: where to run, as `runtime.load` names devices; by default where a loaded module is, or
            `local-task`. `local-sync` computes with one thread.
        parameters: external parameters, as `runtime.load` takes them.
        runs: how many runs to record; the times are their medians.
        timeout: seconds for the recorded runs of one compiled function; None waits for ever.

    Returns:
        A `shark_turbine.profiling.Profile`: print it, or see `rows`, `by_module()`, `to_json()`,
        `save_html(path)` and `save_trace(path)`.

    Raises:
        ArgumentError: the arguments are not those of the function, or `target` is nothing to profile.
        LoadError: the vmfb is damaged, or made for another machine.
        ParameterError: the parameters are not those of the module.
        ExecutionError: a recorded run failed.
    """
    positional = (args,) if isinstance(args, (torch.Tensor, np.ndarray)) else tuple(args)
    named = dict(kwargs or {})
    if runs < 1:
        raise ArgumentError("there must be a run", got=f"runs={runs}", expected="1 or more")
    if isinstance(target, LoadedFunction):
        function, target = target.__name__, target.module
    if isinstance(target, (LoadedModule, Mappable, str, os.PathLike, bytes, bytearray, memoryview)):
        found = replay(target, function, positional, named, device=device, parameters=parameters)
        piece = Piece(found, function, 1)
        return profile_of([piece], _title(target, found), runs, timeout)
    if callable(target):
        return _profile_callable(target, positional, named, device, runs, timeout)
    raise ArgumentError(
        "this cannot be profiled",
        where="shark_turbine.profile",
        got=type(target).__name__,
        expected="a vmfb, a path of one, a loaded module, or a function that calls compiled code",
        fix="compile it first: shark_turbine.profile(output.compile(), args)",
    )


def _title(target: Any, found: Replay) -> str:
    if isinstance(target, (str, os.PathLike)):
        return f"{os.path.basename(os.fspath(target))}: {found.signature.name}"
    module = (found.artifact.manifest or {}).get("module")
    return ".".join(part for part in (module, found.signature.name) if part)


def _profile_callable(
    target: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    device: str | None,
    runs: int,
    timeout: float | None,
) -> Any:
    name = getattr(target, "__qualname__", None) or type(target).__name__
    watched = watch_calls(target, args, kwargs, runs)
    if not watched.calls:
        raise ArgumentError(
            "no compiled code ran in this call",
            where="shark_turbine.profile",
            got=name,
            expected="a function that calls compiled code",
            fix='torch.compile(function, backend="turbine_cpu"), or a loaded module',
        )
    return profile_of(watched.pieces(device), name, runs, timeout, watched)
