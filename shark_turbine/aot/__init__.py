# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The ahead-of-time road: PyTorch programs to MLIR modules to vmfb files.

Names are imported when they are first used: the rooms that trace need no compiler, and importing
one of them must not bring it in. `__init__.pyi` is what type checkers read.
"""

from importlib import import_module
from typing import Any

from shark_turbine import versions as _versions

# fmt: off
_HOMES = {
    "shark_turbine.aot.compiled_module": ("CompiledModule",),
    "shark_turbine.aot.control_flow": ("cond", "fori_loop", "while_loop"),
    "shark_turbine.aot.declare": (
        "abstractify", "export_buffers", "export_global", "export_global_tree", "export_parameters",
        "jittable",
    ),
    "shark_turbine.aot.exporter": ("ExportOutput", "export"),
    "shark_turbine.aot.fx_programs": ("FxPrograms", "FxProgramsBuilder"),
    "shark_turbine.aot.iree_operations": ("IREE",),
    "shark_turbine.aot.params": (
        "ParameterArchive", "ParameterArchiveBuilder", "ParameterArchiveEntry",
        "externalize_module_parameters", "save_module_parameters",
    ),
    "shark_turbine.aot.quantize": (
        "QuantizationReport", "Quantized", "QuantizedEmbedding", "QuantizedLinear",
        "QuantizedWeight", "quantize",
    ),
    "shark_turbine.aot.training": ("export_training", "training_module"),
    "shark_turbine.aot.traits": ("ExternalTensorTrait",),
    "shark_turbine.aot.types": (
        "AbstractBool", "AbstractF32", "AbstractF64", "AbstractI32", "AbstractI64", "AbstractIndex",
        "AbstractTensor",
    ),
    "shark_turbine.decompositions": ("current_aot_decompositions", "extend_aot_decompositions"),
}
# fmt: on
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)  # pyright: ignore[reportUnsupportedDunderAll]

_versions.require("torch")
_versions.require("iree-base-compiler")


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = import_module(_HOME_OF[name])
    # All of its names: importing the package `quantize` has put a module where the function belongs.
    globals().update({each: getattr(home, each) for each in _HOMES[home.__name__]})
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
