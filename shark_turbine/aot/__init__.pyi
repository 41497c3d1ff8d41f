# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
from shark_turbine.decompositions import current_aot_decompositions, extend_aot_decompositions

from .compiled_module import CompiledModule
from .control_flow import cond, fori_loop, while_loop
from .declare import (
    abstractify,
    export_buffers,
    export_global,
    export_global_tree,
    export_parameters,
    jittable,
)
from .exporter import ExportOutput, export
from .fx_programs import FxPrograms, FxProgramsBuilder
from .iree_operations import IREE
from .params import (
    ParameterArchive,
    ParameterArchiveBuilder,
    ParameterArchiveEntry,
    externalize_module_parameters,
    save_module_parameters,
)
from .quantize import (
    QuantizationReport,
    Quantized,
    QuantizedEmbedding,
    QuantizedLinear,
    QuantizedWeight,
    quantize,
)
from .training import export_training, training_module
from .traits import ExternalTensorTrait
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
    "IREE",
    "AbstractBool",
    "AbstractF32",
    "AbstractF64",
    "AbstractI32",
    "AbstractI64",
    "AbstractIndex",
    "AbstractTensor",
    "CompiledModule",
    "ExportOutput",
    "ExternalTensorTrait",
    "FxPrograms",
    "FxProgramsBuilder",
    "ParameterArchive",
    "ParameterArchiveBuilder",
    "ParameterArchiveEntry",
    "QuantizationReport",
    "Quantized",
    "QuantizedEmbedding",
    "QuantizedLinear",
    "QuantizedWeight",
    "abstractify",
    "cond",
    "current_aot_decompositions",
    "export",
    "export_buffers",
    "export_global",
    "export_global_tree",
    "export_parameters",
    "export_training",
    "extend_aot_decompositions",
    "externalize_module_parameters",
    "fori_loop",
    "jittable",
    "quantize",
    "save_module_parameters",
    "training_module",
    "while_loop",
]
