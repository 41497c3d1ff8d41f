# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A declaration made from an ExportedProgram alone, without a class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from shark_turbine.errors import SourceLocation

from ..spec import External, ModuleSpec, ProgramSpec


def spec_of_program(
    program: torch.export.ExportedProgram,
    *,
    module_name: str,
    function_name: str,
    label: str,
    location: SourceLocation | None = None,
    decomposition_table: Mapping[Any, Callable[..., Any]] | None = None,
    dim_names: Mapping[str, str] | None = None,
    external: Mapping[str, External] | None = None,
) -> ModuleSpec:
    """Declare a module whose one function is a program."""
    member = ProgramSpec(
        name=function_name,
        program=program,
        is_public=True,
        location=location,
        decomposition_table=decomposition_table,
        dim_names=dim_names or {},
        external=external or {},
    )
    return ModuleSpec(
        name=module_name,
        label=label,
        members={function_name: member},
        own=(function_name,),
        location=location,
    )
