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

import numpy as np

from shark_turbine import runtime
from shark_turbine.errors import CommandLineError
from shark_turbine.files import check_target, new_file
from shark_turbine.runtime.tensors import to_numpy
from shark_turbine.signature import (
    Argument,
    FunctionSignature,
    MappingTree,
    SequenceTree,
    Tree,
    build,
)

from .arrays import to_array
from .input_spec import DynamicDim, InputSpec
from .output import print_json, readable_time

# More elements than this are elided where people read them.
_MOST_PRINTED = 1000


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
    arguments = _arguments(function.signature, request)
    with _interruptible():
        result, times = _call(function, arguments, request.repeat)
    results = [
        (name, to_numpy(value)) for name, value in _leaves(function.signature.result, result, "")
    ]
    _write(results, request.outputs)
    if request.as_json:
        _print_as_json(function, results, times, request)
    else:
        _print(results, times, request)


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


# ------------------------------------------------------------------------------------------------- results --


def _leaves(tree: Tree, value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield the leaves of a result with what to write after `result` to get them."""
    match tree:
        case SequenceTree(_, items):
            for index, item in enumerate(items):
                yield from _leaves(item, value[index], f"{path}[{index}]")
        case MappingTree(items):
            for key, item in items:
                yield from _leaves(item, value[key], f"{path}[{key!r}]")
        case _:
            if value is not None:
                yield path, value


def _write(results: Sequence[tuple[str, Any]], paths: Sequence[Path]) -> None:
    if not paths:
        return
    if len(paths) > len(results) or (len(paths) < len(results) and paths[0].suffix != ".npz"):
        raise CommandLineError(
            f"the function gives {len(results)} result{'s' * (len(results) != 1)}",
            got=f"{len(paths)} --output",
            expected="a .npy file for each, or one .npz file",
        )
    for name, value in results:
        _refuse_what_npy_cannot_hold(name, value)
    if paths[0].suffix == ".npz":
        # numpy calls what has no name so too.
        arrays = {_key(name) or "arr_0": value for name, value in results}
        with new_file(paths[0]) as (file, publish):
            np.savez(file, allow_pickle=False, **arrays)
            publish()
        return
    for path, (_, value) in zip(paths, results, strict=True):
        with new_file(path) as (file, publish):
            np.save(file, value, allow_pickle=False)
            publish()


def _key(name: str) -> str:
    """Return a key of a .npz file: `['a'][0]` is called `a.0`."""
    return ".".join(part.strip("'\"") for part in name.strip("[]").split("]["))


def _refuse_what_npy_cannot_hold(name: str, value: Any) -> None:
    if np.asarray(value).dtype.isbuiltin != 1:
        raise CommandLineError(
            f"a .npy file cannot hold result{name}",
            got=f"a dtype that numpy does not have itself: {np.asarray(value).dtype}",
            fix="print it, or return .float() from the program",
        )


def _print(results: Sequence[tuple[str, Any]], times: Sequence[float], request: RunRequest) -> None:
    if not request.outputs:
        for name, value in results:
            print(f"result{name}: {_described(value)}")
            if isinstance(value, np.ndarray):
                print(np.array2string(value, threshold=_MOST_PRINTED))
    for path in request.outputs:
        print(f"wrote {path}")
    if request.repeat is not None:
        middle, low, high = (f(times) for f in (statistics.median, min, max))
        print(
            f"median of {len(times)} calls: {readable_time(middle)} "
            f"({readable_time(low)} to {readable_time(high)}), after one to warm up"
        )


def _described(value: Any) -> str:
    if not isinstance(value, np.ndarray):
        return repr(value)
    return f"{value.dtype}[{', '.join(map(str, value.shape))}]"


def _print_as_json(
    function: Any, results: Sequence[tuple[str, Any]], times: Sequence[float], request: RunRequest
) -> None:
    shown: list[dict[str, Any]] = []
    for index, (name, value) in enumerate(results):
        array = np.asarray(value)
        entry: dict[str, Any] = {
            "name": f"result{name}", "dtype": str(array.dtype), "shape": list(array.shape)
        }  # fmt: skip
        if request.outputs:
            entry["file"] = str(request.outputs[min(index, len(request.outputs) - 1)])
        else:
            entry["values"] = _plain(array.tolist())
        shown.append(entry)
    print_json({
        "function": function.signature.name,
        "device": function.module.device.uri,
        "results": shown,
        "calls": len(times),
        "median_seconds": statistics.median(times),
    })  # fmt: skip


def _plain(value: Any) -> Any:
    """Return what JSON can hold: it has no complex numbers, no infinities and no NaN."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, complex):
        return [_plain(value.real), _plain(value.imag)]
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value if isinstance(value, (bool, int, float)) else float(value)
