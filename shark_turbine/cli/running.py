# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The work of `run`: load a vmfb, call a function of it, print or write what it gives."""

from __future__ import annotations

import os
import shlex
import signal
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shark_turbine import runtime
from shark_turbine.errors import CommandLineError
from shark_turbine.files import check_target
from shark_turbine.signature import (
    Argument,
    FunctionSignature,
    build,
)

from .arrays import to_array
from .input_spec import DynamicDim, InputSpec
from .output import print_json, readable_time
from .results import check_files, print_results, results_of, results_to_json, write_results


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What `run` was told, in the words of the command line."""

    file: Path
    function: str | None
    inputs: tuple[InputSpec, ...]
    outputs: tuple[Path, ...]
    device: str | None
    parameters: tuple[str, ...]
    repeat: int | None
    as_json: bool


def run_file(request: RunRequest) -> None:
    """Do what `run` was told.

    Raises:
        TurbineError: as loading and calling do.
    """
    for path in request.outputs:
        check_target(path)
    module = runtime.load(
        request.file, device=request.device, parameters=_parameters(request.parameters)
    )
    function = module[_function_name(module, request)]
    tree = function.signature.result
    check_files(tree, request.outputs)
    arguments = _arguments(function.signature, request)
    with _interruptible():
        value, times = _call(function, arguments, request.repeat)
    results = results_of(tree, value)
    if request.outputs:
        write_results(results, request.outputs)
    if request.as_json:
        print_json({
            "function": function.signature.name,
            "device": function.module.device.uri,
            "results": results_to_json(results, request.outputs),
            "calls": len(times),
            "median_seconds": statistics.median(times),
        })  # fmt: skip
        return
    if not request.outputs:
        print_results(results)
    for path in request.outputs:
        print(f"wrote {path}")
    if request.repeat is not None:
        _print_times(times)


def _print_times(times: Sequence[float]) -> None:
    middle, low, high = (readable_time(f(times)) for f in (statistics.median, min, max))
    print(f"median of {len(times)} calls: {middle} ({low} to {high}), after one to warm up")


def _parameters(words: Sequence[str]) -> Any:
    """Return what `load` takes: a path, several, or these by scope."""
    scopes: dict[str | None, list[str]] = {}
    for text in words:
        scope, equals, path = text.partition("=")
        if not equals or os.path.exists(text):
            scope, path = None, text
        scopes.setdefault(scope, []).append(path)
    if not scopes:
        return None
    if None in scopes and len(scopes) > 1:
        raise CommandLineError(
            "some parameters have a scope and some have none",
            got=" ".join(f"--parameters {text}" for text in words),
            expected="--parameters SCOPE=FILE for each, or FILE where there is one scope",
        )
    sources = {scope: paths[0] if len(paths) == 1 else paths for scope, paths in scopes.items()}
    return sources.get(None, sources)


def _function_name(module: runtime.LoadedModule, request: RunRequest) -> str:
    names = module.functions
    if request.function is not None:
        if request.function in names:
            return request.function
        raise CommandLineError(
            f"{request.file} has no function {request.function!r}", expected=", ".join(names)
        )
    if len(names) == 1 or "main" in names:
        return "main" if "main" in names else names[0]
    raise CommandLineError(
        f"{request.file} has {len(names)} functions",
        expected=f"--function with one of {', '.join(names)}",
        fix=f"--function {names[0]}" if names else None,
    )


# ---------------------------------------------------------------------------------------------- arguments --


def _arguments(signature: FunctionSignature, request: RunRequest) -> dict[str, Any]:
    """Return the arguments of the call by the names of parameters."""
    places = {argument.name: index for index, argument in enumerate(signature.arguments)}
    flat: dict[int, Any] = {}
    by_position = iter(range(len(places)))
    for spec in request.inputs:
        if spec.name is not None and spec.name not in places:
            raise CommandLineError(
                f"{signature.name} has no argument {spec.name!r}",
                got=f"--input {spec.text}",
                expected=str(signature),
            )
        index = next(by_position, None) if spec.name is None else places[spec.name]
        if index is None or index in flat:
            raise CommandLineError(
                f"{signature.name} is given too many inputs",
                got=f"{len(request.inputs)} --input",
                expected=str(signature),
            )
        flat[index] = to_array(spec, _sizes(spec))
    if len(flat) < len(places):
        raise _missing(signature, request, flat)
    return {
        parameter.name: build(parameter.tree, flat)  # pyright: ignore[reportArgumentType]
        for parameter in signature.parameters
    }


def _sizes(spec: InputSpec) -> list[int]:
    sizes: list[int] = []
    for dim in spec.dims:
        if isinstance(dim, DynamicDim):
            raise CommandLineError(
                "a call has tensors of known sizes",
                got=f"--input {spec.text}",
                expected="a number for each dim",
                fix=f"--input {spec.text.replace(_text(dim), '4', 1)}",
            )
        sizes.append(dim)
    return sizes


def _text(dim: DynamicDim) -> str:
    return f"{dim.name or ''}?{dim.example or ''}"


def _missing(
    signature: FunctionSignature, request: RunRequest, flat: Mapping[int, Any]
) -> CommandLineError:
    missing = [argument for index, argument in enumerate(signature.arguments) if index not in flat]
    words = " ".join(f"--input {shlex.quote(_as_input(argument))}" for argument in missing)
    names = ", ".join(argument.name for argument in missing)
    return CommandLineError(
        f"{signature.name} needs {len(missing)} more input{'s' * (len(missing) > 1)}: {names}",
        got=f"{len(request.inputs)} --input",
        expected=str(signature),
        fix=f"{words}  (for zeros)",
    )


def _as_input(argument: Argument) -> str:
    """Return the words after `--input` for zeros of an argument's type; 4 stands for any size."""
    kind = argument.type
    if kind.shape is None:
        return f"{kind.dtype}=0"
    return "x".join(
        [*(str(dim) if isinstance(dim, int) else "4" for dim in kind.shape), kind.dtype]
    )


# ------------------------------------------------------------------------------------------------- calling --


@contextmanager
def _interruptible() -> Iterator[None]:
    """Have Ctrl-C end the process at once: Python would wait for the end of the call."""
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    except ValueError:  # Not the main thread: nobody's Ctrl-C comes here.
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _call(
    function: Any, arguments: Mapping[str, Any], repeat: int | None
) -> tuple[Any, list[float]]:
    """Return the result of the first call, and the times of the others, or of it alone."""
    result, first = _timed(function, arguments)
    if repeat is None:
        return result, [first]
    return result, [_timed(function, arguments)[1] for _ in range(repeat)]


def _timed(function: Any, arguments: Mapping[str, Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = function(**arguments)
    return result, time.perf_counter() - start
