# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`load()`: verify first, then let IREE map it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from . import artifact, devices, machine
from .artifact import Source
from .module import LoadedModule
from .parameters import attach

Path = str | os.PathLike[str]
Parameters = Path | Sequence[Path] | Mapping[str, Any] | Any | None


def load(
    vmfb: Source,
    *,
    device: str | None = None,
    parameters: Parameters = None,
    strict: bool = False,
    check_hashes: bool = True,
) -> LoadedModule:
    """Load a compiled module and return its functions, ready to call.

    Args:
        vmfb: what `compile()` returned, the path of a `.vmfb` file, or its bytes. A file is read
            into private memory, so it may be replaced or deleted while the module is in use.
        device: `local-task` runs on all cores, `local-task?threads=2` on so many worker threads;
            `local-sync` on the calling thread, with the least overhead per call. None is the
            device that the vmfb was tuned for, or that its recipe chose, and else `local-task`.
        parameters: for modules with external parameters: the path of an `.irpa`, `.safetensors` or
            `.gguf` file or of a checkpoint folder; a list of paths; a dict from keys to tensors or
            arrays; or an `iree.runtime.ParameterIndex`. Where the module has several scopes, a dict
            from each of them to one of these. Files are mapped: they must stay as they are, and
            memory given must not change, as long as the module is in use.
        strict: refuse parameters that the module does not need; a checkpoint may hold some.
        check_hashes: compare the bytes of each parameter with those at export, once for each version
            of a file; False attaches other values of the same dtypes and shapes.

    Raises:
        LoadError: the artifact is damaged, or made for another machine or version.
        ParameterError: a parameter file is damaged, or the parameters are not those of the module.
    """
    verified = artifact.read(vmfb)
    machine.refuse_foreign(verified.origin, verified.manifest)
    attached = attach(verified, parameters, strict=strict, check_hashes=check_hashes)
    found = devices.device(device or _chosen_device(verified.manifest) or "local-task")
    return LoadedModule(verified, found, attached)


def _chosen_device(manifest: Mapping[str, Any] | None) -> str | None:
    """Return the device that tuning or the recipe found to be the fastest for an artifact."""
    recipe = (manifest or {}).get("recipe")
    found = recipe.get("device") if isinstance(recipe, dict) else None
    return found if isinstance(found, str) else None
