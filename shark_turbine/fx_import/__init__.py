# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Exported PyTorch programs as functions of an MLIR module."""

from __future__ import annotations

from .entry import module_of_graph
from .importer import ProgramImporter
from .literals import elements_attribute

__all__ = ["ProgramImporter", "elements_attribute", "module_of_graph"]
