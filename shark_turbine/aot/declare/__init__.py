# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""ROOM 1: a class body, an nn.Module or an ExportedProgram becomes a `ModuleSpec`. No MLIR here."""

from .body import collect_body
from .globals import export_buffers, export_global, export_global_tree, export_parameters
from .jittable import jittable
from .naming import module_name
from .signature import abstractify

__all__ = [
    "abstractify",
    "collect_body",
    "export_buffers",
    "export_global",
    "export_global_tree",
    "export_parameters",
    "jittable",
    "module_name",
]
