# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""From a program as `torch.export` gives it to one that the importer and the compiler take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch.export import ExportedProgram

from .table import current_aot_decompositions


def prepare(
    program: ExportedProgram,
    *,
    decomposition_table: Mapping[Any, Callable[..., Any]] | None = None,
) -> ExportedProgram:
    """Decompose and rewrite an exported program; the argument stays as it is.

    Args:
        program: what `torch.export.export` returned.
        decomposition_table: from operators to functions that compute them with others; by default
            the table in force (see `extend_aot_decompositions`).
    """
    table = current_aot_decompositions() if decomposition_table is None else decomposition_table
    return program.run_decompositions(dict(table))
