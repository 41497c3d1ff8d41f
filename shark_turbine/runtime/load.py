# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`load()`: verify first, then let IREE map it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import iree.runtime as iree

from ..errors import LoadError
from . import artifact, devices, machine
from .artifact import Source
from .module import LoadedModule


def load(
    vmfb: Source,
    *,
    device: str = "local-task",
    parameters: Mapping[str, str | os.PathLike[str] | Any] | None = None,
) -> LoadedModule:
    """Load a compiled module and return its functions, ready to call.

    Args:
        vmfb: what `compile()` returned, the path of a `.vmfb` file, or its bytes. A file is read
            into private memory, so it may be replaced or deleted while the module is in use.
        device: `local-task` runs on all cores, `local-task?threads=2` on so many worker threads;
            `local-sync` on the calling thread, with the least overhead per call.
        parameters: for modules with external parameters: scope (such as `"model"`) to the path of
            an `.irpa`, `.safetensors` or `.gguf` file, or to an `iree.runtime.ParameterIndex`.

    Raises:
        LoadError: the artifact is damaged, or made for another machine or version.
    """
    verified = artifact.read(vmfb)
    machine.refuse_foreign(verified.origin, verified.manifest)
    found = devices.device(device)
    return LoadedModule(verified, found, _providers(parameters or {}))


def _providers(parameters: Mapping[str, Any]) -> list[Any]:
    providers: list[Any] = []
    for scope, source in parameters.items():
        index = source if isinstance(source, iree.ParameterIndex) else _index(scope, source)
        providers.append(index.create_provider(scope=scope))
    return providers


def _index(scope: str, path: str | os.PathLike[str]) -> Any:
    index = iree.ParameterIndex()
    try:
        index.load(os.fspath(path))
    except Exception as error:
        raise LoadError(
            f"the parameter file of scope {scope!r} cannot be read",
            where=os.fspath(path),
            got=str(error).split("\n", 1)[0][:200],
            expected="an .irpa, .safetensors or .gguf file",
        ) from error
    return index
