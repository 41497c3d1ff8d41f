# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compile PyTorch functions and run them, without any room between: for tests of operators."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  (numpy learns bfloat16)
import numpy as np
import torch

from shark_turbine import dtypes, ir
from shark_turbine.decompositions import prepare
from shark_turbine.fx_import import ProgramImporter

FLAGS = (
    "--iree-hal-target-device=local",
    "--iree-hal-local-target-device-backends=llvm-cpu",
    "--iree-llvmcpu-target-cpu=host",
)


class CompileFailed(Exception):
    """`iree-compile` refused or died: the message is what it wrote."""

    def __init__(self, message: str, crashed: bool) -> None:
        super().__init__(message)
        self.crashed = crashed


class _Function(torch.nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self._function = function
        torch.fx.proxy._register_stack_trace_anchor(function)

    def forward(self, *arguments: Any) -> Any:
        return self._function(*arguments)


def export(function: Callable[..., Any], arguments: Sequence[Any], **options: Any) -> Any:
    """Export a module or function and prepare it."""
    module = function if isinstance(function, torch.nn.Module) else _Function(function)
    if "dynamic_shapes" in options and not isinstance(function, torch.nn.Module):
        options["dynamic_shapes"] = (options["dynamic_shapes"],)
    with torch.no_grad():
        program = torch.export.export(module, tuple(arguments), strict=False, **options)
        return prepare(program)


def new_module() -> Any:
    """Return an empty MLIR module in a context of its own."""
    with ir.Context(), ir.Location.unknown():
        return ir.Module.create()


def import_all(programs: Mapping[str, Any]) -> Any:
    """Write prepared programs as public functions of one module."""
    module = new_module()
    importer = ProgramImporter(module)
    for name, program in programs.items():
        importer.import_function(program, name=name, visibility="public")
    module.operation.verify()
    return module


def compile_module(module: Any, *flags: str, timeout: float = 120.0) -> bytes:
    """Compile a module for this machine; return the vmfb's bytes."""
    if "f64" in str(module):
        flags = ("--iree-input-demote-f64-to-f32=false", *flags)
    compiler = Path(sys.executable).parent / "iree-compile"
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder, "m.mlirbc"), Path(folder, "m.vmfb")
        ir.write_module(module, source)
        command = [str(compiler), str(source), "-o", str(result), *FLAGS, *flags]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
        except subprocess.TimeoutExpired as error:
            raise CompileFailed(f"no end after {timeout} s", crashed=True) from error
        if done.returncode != 0:
            crashed = done.returncode < 0 or "Please report issues" in done.stderr
            raise CompileFailed(done.stderr, crashed)
        return result.read_bytes()


class Artifact:
    """A loaded vmfb: calls take and give torch tensors (and Python numbers)."""

    def __init__(self, vmfb: bytes) -> None:
        import iree.runtime as runtime

        self._runtime = runtime
        self._config = runtime.Config("local-sync")
        module = runtime.VmModule.copy_buffer(self._config.vm_instance, vmfb)
        self._module = runtime.load_vm_module(module, self._config)

    def call(self, name: str, arguments: Sequence[Any], like: Sequence[Any]) -> list[Any]:
        """Call a function; `like` holds values of the result types expected."""
        inputs = [self._to_device(value) for value in arguments]
        result = self._module[name](*inputs)
        results = list(result) if isinstance(result, (list, tuple)) else [result]
        # The new values of mutated arguments come after the results: whoever wants them asks.
        assert len(results) >= len(like), f"{len(results)} results, not {len(like)}"
        return [_to_torch(value, wanted) for value, wanted in zip(results, like, strict=False)]

    def _to_device(self, value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        row = dtypes.from_torch(value.dtype)
        dense = value.detach().resolve_conj().resolve_neg().contiguous()
        if dense.numel() == 0:
            array = np.empty(tuple(dense.shape), row.numpy)
        else:
            flat = dense.reshape(-1).view(torch.uint8).numpy().view(row.numpy)
            array = flat.reshape(tuple(dense.shape))
        element = getattr(self._runtime.HalElementType, row.hal)
        return self._runtime.asdevicearray(
            self._config.device, array, implicit_host_transfer=True, element_type=element
        )


def _to_torch(value: Any, wanted: Any) -> Any:
    if not hasattr(value, "to_host"):
        return value
    array = np.array(value.to_host(), order="C")
    if isinstance(wanted, torch.Tensor) and wanted.dtype is not torch.bool:
        shape = tuple(array.shape)
        if array.size == 0:
            return torch.empty(shape, dtype=wanted.dtype)
        flat = torch.from_numpy(array.reshape(-1).view(np.uint8).copy())
        return flat.view(wanted.dtype).reshape(shape)
    return torch.from_numpy(array.copy())


def run(function: Callable[..., Any], *arguments: Any, **options: Any) -> list[Any]:
    """Export, compile and call a function once; return its flat results."""
    artifact = Artifact(
        compile_module(import_all({"main": export(function, arguments, **options)}))
    )
    tensors = [value for value in arguments if isinstance(value, torch.Tensor)]
    return artifact.call("main", tensors, flat_tensors(function(*arguments)))


def flat_tensors(value: Any) -> list[Any]:
    """Return the tensors of a result in order."""
    return [
        leaf for leaf in torch.utils._pytree.tree_leaves(value) if isinstance(leaf, torch.Tensor)
    ]


def tolerance(dtype: torch.dtype) -> tuple[float, float]:
    """Return relative and absolute tolerances for one operator computed in a dtype."""
    return {
        torch.bfloat16: (2e-2, 2e-2),
        torch.float16: (4e-3, 4e-3),
        torch.float32: (3e-4, 3e-5),
        torch.complex64: (3e-4, 3e-5),
        torch.float64: (1e-6, 1e-7),
        torch.complex128: (1e-6, 1e-7),
    }.get(dtype, (0.0, 0.0))


def mismatch(actual: Sequence[Any], expected: Sequence[Any]) -> str | None:
    """Say how results differ, or return None where they agree within the dtype's tolerance."""
    for index, (have, want) in enumerate(zip(actual, expected, strict=True)):
        if tuple(have.shape) != tuple(want.shape) or have.dtype != want.dtype:
            return f"result {index}: {have.dtype}{list(have.shape)}, not {want.dtype}{list(want.shape)}"
        relative, absolute = tolerance(want.dtype)
        want = want.detach().resolve_conj().resolve_neg()
        try:
            torch.testing.assert_close(have, want, rtol=relative, atol=absolute, equal_nan=True)
        except AssertionError as error:
            return f"result {index}: " + " ".join(str(error).split())[:200]
    return None
