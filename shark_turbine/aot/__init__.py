# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The ahead-of-time road: PyTorch programs to MLIR modules to vmfb files.

Names are imported when they are first used: the rooms that trace need no compiler, and importing
one of them must not bring it in.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from shark_turbine import versions as _versions

if TYPE_CHECKING:
    from shark_turbine.compiler import Vmfb
    from shark_turbine.decompositions import current_aot_decompositions, extend_aot_decompositions

    from .compiled_module import CompiledModule
    from .declare import (
        abstractify,
        export_buffers,
        export_global,
        export_global_tree,
        export_parameters,
        jittable,
    )
    from .exporter import ExportOutput, export
    from .types import (
        AbstractBool,
        AbstractF32,
        AbstractF64,
        AbstractI32,
        AbstractI64,
        AbstractIndex,
        AbstractTensor,
    )

__all__ = [
    "AbstractBool",
    "AbstractF32",
    "AbstractF64",
    "AbstractI32",
    "AbstractI64",
    "AbstractIndex",
    "AbstractTensor",
    "CompiledModule",
    "ExportOutput",
    "Vmfb",
    "abstractify",
    "current_aot_decompositions",
    "export",
    "export_buffers",
    "export_global",
    "export_global_tree",
    "export_parameters",
    "extend_aot_decompositions",
    "jittable",
]

_HOMES = {
    "CompiledModule": "compiled_module",
    "ExportOutput": "exporter",
    "Vmfb": "..compiler",
    "current_aot_decompositions": "..decompositions",
    "export": "exporter",
    "extend_aot_decompositions": "..decompositions",
    **dict.fromkeys(
        (
            "abstractify",
            "export_buffers",
            "export_global",
            "export_global_tree",
            "export_parameters",
            "jittable",
        ),
        "declare",
    ),
}

_versions.require("torch")
_versions.require("iree-base-compiler")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOMES.get(name, "types")
    value = getattr(import_module(home if home.startswith(".") else f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
