# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Weight-only quantization of nn.Modules and CompiledModules to 8 and 4 bits."""

from .entry import Quantized, quantize
from .modules import QuantizedEmbedding, QuantizedLinear
from .report import QuantizationReport, QuantizedWeight

__all__ = [
    "QuantizationReport",
    "Quantized",
    "QuantizedEmbedding",
    "QuantizedLinear",
    "QuantizedWeight",
    "quantize",
]
