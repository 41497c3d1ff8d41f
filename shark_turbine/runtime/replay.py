# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A call of a compiled function in a child process, run by IREE's own tools, which can look inside.

The bindings of IREE's runtime cannot record what a device does; `iree-benchmark-module` can. It gets
the same bytes of the same artifact, arguments, parameters and device as a call in this process.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import iree._runtime_libs as tools
import numpy as np

from .. import dtypes
from ..errors import ExecutionError, LoadError
from ..signature import FunctionSignature, ValueType
from . import artifact, devices, machine
from .artifact import Artifact, Source
from .binding import Binding
from .checks import Sizes, checker, describe
from .function import LoadedFunction
from .module import LoadedModule
from .parameters import Attached, attach

_RECORDED = "host-execution,queue-events,memory-events"
_CPU_BACKENDS = {"llvm-cpu", "vmvx"}
Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Recording:
    """What a device did in some runs of a call: the events that IREE noted, and its statistics."""

    events: list[Event]
    statistics: str


@dataclass(frozen=True, slots=True)
class Replay:
    """A function, flat checked arguments, and what it needs to run."""

    artifact: Artifact
    signature: FunctionSignature
    parameters: Sequence[Attached]
    device: str
    values: Sequence[Any]

    def run(self, runs: int, timeout: float | None) -> Recording:
        """Run the call some times in one child process and record every run.

        Raises:
            ExecutionError: the child process failed, or took longer than `timeout` seconds.
        """
        with tempfile.TemporaryDirectory(prefix="shark_turbine-") as folder:
            recorded = os.path.join(folder, "events")
            said = _run(
                [
                    _tool("iree-benchmark-module"),
                    *self._flags(folder),
                    f"--benchmark_min_time={runs}x",
                    "--print_statistics",
                    f"--device_profiling_mode={_RECORDED}",
                    f"--device_profiling_output={recorded}",
                ],
                timeout,
                self.signature.name,
            )
            # The tool says what went wrong in a call, and ends as if nothing had.
            if "ERROR OCCURRED" in said or not os.path.exists(recorded):
                raise _failed(self.signature.name, said)
            export = ["export", "--format=ireeperf-jsonl", "--output=-", recorded]
            lines = _run([_tool("iree-profile"), *export], timeout, self.signature.name)
        events = [json.loads(line) for line in lines.splitlines() if line.startswith("{")]
        return Recording(events, said)

    def _flags(self, folder: str) -> Iterator[str]:
        module = os.path.join(folder, "module.vmfb")
        Path(module).write_bytes(self.artifact.memory)
        yield f"--module={module}"
        yield f"--function={self.signature.name}"
        yield from devices.tool_flags(self.device)
        for number, attached in enumerate(self.parameters):
            path = os.path.join(folder, f"parameters{number}.irpa")
            attached.index.create_archive_file(path)
            yield f"--parameters={attached.scope}={path}"
        for number, (argument, value) in enumerate(
            zip(self.signature.arguments, self.values, strict=True)
        ):
            path = os.path.join(folder, f"argument{number}")
            yield f"--input={_written(argument.type, value, path)}"


def replay_of(function: LoadedFunction, values: Sequence[Any], device: str | None) -> Replay:
    """Return the replay of a call of a loaded function, with values that it has checked."""
    module = function.module
    return Replay(
        module._artifact,
        function.signature,
        module._parameters,
        device or module.device.uri,
        values,
    )


def replay(
    source: Source | LoadedModule,
    name: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    device: str | None,
    parameters: Any,
) -> Replay:
    """Return the replay of a call, as `load(source, ...)[name](*args, **kwargs)` would make it.

    Raises:
        LoadError: the artifact is damaged, made for another machine, or has no such function.
        ParameterError: the parameters are not those of the module.
        ArgumentError: the arguments are not what the function was compiled for.
    """
    if isinstance(source, LoadedModule):
        verified, attached = source._artifact, source._parameters
        device = device or source.device.uri
    else:
        verified = artifact.read(source)
        machine.refuse_foreign(verified.origin, verified.manifest)
        attached = attach(verified, parameters, strict=False, check_hashes=True)
    _refuse_other_backends(verified)
    signature = _signature(verified, name)
    where = f"{(verified.manifest or {}).get('module') or 'module'}.{name}"
    flat = Binding(signature, where, describe).flatten(args, kwargs)
    sizes: Sizes = {}
    values = [
        checker(argument, where)(value, sizes)
        for argument, value in zip(signature.arguments, flat, strict=True)
    ]
    return Replay(verified, signature, attached, device or "local-task", values)


def _refuse_other_backends(verified: Artifact) -> None:
    backends = ((verified.manifest or {}).get("target") or {}).get("backends") or []
    if backends and not _CPU_BACKENDS.intersection(backends):
        raise LoadError(
            "the vmfb was not compiled for a CPU, and only those are profiled",
            where=verified.origin,
            got=f"target backends {', '.join(backends)}",
            expected=" or ".join(sorted(_CPU_BACKENDS)),
            fix="compile it without target=, for this machine's CPU",
        )


def _signature(verified: Artifact, name: str) -> FunctionSignature:
    for signature in verified.functions:
        if signature.name == name:
            return signature
    names = ", ".join(signature.name for signature in verified.functions)
    raise LoadError(
        f"the vmfb has no function {name!r}" if names else "the vmfb does not say what it takes",
        where=verified.origin,
        got=f"function={name!r}",
        expected=f"one of {names}" if names else "a vmfb that shark_turbine compiled",
        fix=f"function={verified.functions[0].name!r}" if names else "aot.export(...).compile()",
    )


def _written(kind: ValueType, value: Any, path: str) -> str:
    """Write an argument to a file, and return how IREE's tools are told of it."""
    if kind.shape is None:
        return str(int(value)) if isinstance(value, bool) else repr(value)
    row = dtypes.from_name(kind.dtype)
    tensor = value.detach().resolve_conj().resolve_neg().contiguous().cpu()
    if row.numpy.isbuiltin == 1:
        with open(path, "wb") as file:
            np.save(file, tensor.numpy())
        os.rename(path, f"{path}.npy")
        return f"@{path}.npy"
    # numpy has no name for these: the bytes, and the type beside them.
    plain = (
        tensor.view(dtypes.from_name("u8").torch)
        if row.size == 1
        else tensor.view(dtypes.from_name("i16").torch)
    )
    plain.numpy().tofile(path)
    dims = "".join(f"{size}x" for size in tensor.shape)
    return f"{dims}{row.mlir}=@{path}"


# ----------------------------------------------------------------------------------- child processes --


def _tool(name: str) -> str:
    return str(Path(tools.__file__).with_name(name))


def _run(command: Sequence[str], timeout: float | None, name: str) -> str:
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired as expired:
        raise ExecutionError(
            f"the recorded runs took more than {timeout:g} s",
            where=name,
            fix="profile fewer of them: runs=3, or wait longer: timeout=None",
        ) from expired
    if result.returncode:
        raise _failed(name, result.stdout + result.stderr)
    # The statistics go to the one, the table of the benchmark to the other.
    return result.stdout if command[1] == "export" else result.stdout + result.stderr


def _failed(name: str, said: str) -> ExecutionError:
    lines = [line for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if "error" in line.lower() or "; " in line]
    return ExecutionError(
        "the recorded runs failed",
        where=name,
        got="\n".join((telling or lines)[:4]) or "nothing was said",
        fix="call the function first, to see whether it runs at all",
    )
