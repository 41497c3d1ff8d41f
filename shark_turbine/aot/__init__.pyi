# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
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
    "ParameterArchive",
    "ParameterArchiveBuilder",
    "ParameterArchiveEntry",
    "QuantizationReport",
    "Quantized",
    "QuantizedEmbedding",
    "QuantizedLinear",
    "QuantizedWeight",
    "abstractify",
    "current_aot_decompositions",
    "export",
    "export_buffers",
    "export_global",
    "export_global_tree",
    "export_parameters",
    "extend_aot_decompositions",
    "externalize_module_parameters",
    "jittable",
    "quantize",
    "save_module_parameters",
]
