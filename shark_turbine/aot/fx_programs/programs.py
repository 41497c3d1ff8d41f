# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""ExportedPrograms that share their state, as one declaration."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import torch

from shark_turbine.errors import DeclarationError

from ..spec import ModuleSpec, ProgramSpec
from ..weights import WeightOptions, external_weights
from .file import read_programs, write_programs


class FxPrograms:
    """ExportedPrograms by the name of their entry point.

    What programs have in common is stored once: the same tensor is one tensor after saving and loading,
    and one global of the module that `aot.export(fx_programs)` makes. A buffer that one entry point
    writes is what the others read.

    Args:
        programs: programs by the name of their entry point; more can be put into `programs` later.
    """

    def __init__(self, programs: Mapping[str, torch.export.ExportedProgram] | None = None) -> None:
        self.programs: dict[str, torch.export.ExportedProgram] = dict(programs or {})
        # What the user calls the symbols of dynamic dims, by program.
        self.dim_names: dict[str, dict[str, str]] = {}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all programs and their tensors to one file, whole or not at all.

        Args:
            path: where to; an older file there is replaced.

        Raises:
            SaveError: it cannot be written; what was at `path` is untouched.
        """
        write_programs(path, self.programs, self.dim_names)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> FxPrograms:
        """Read what `save` wrote.

        Args:
            path: the file.

        Raises:
            LoadError: the file cannot be read, is damaged, or is something else.
        """
        loaded = FxPrograms()
        loaded.programs, loaded.dim_names = read_programs(path)
        return loaded

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {', '.join(self.programs) or 'nothing'}>"


def spec_of_fx_programs(
    programs: FxPrograms,
    module_name: str,
    decomposition_table: Mapping[Any, Callable[..., Any]] | None,
    weights: WeightOptions,
) -> ModuleSpec:
    """Declare a module whose functions are programs; tensors that they share are one global.

    Raises:
        DeclarationError: there is no program.
        ParameterError: the weights are not in the checkpoint.
    """
    if not programs.programs:
        raise DeclarationError(
            "there is no entry point to export",
            where="aot.export",
            got=repr(programs),
            expected="one program or more",
            fix="@fxb.export_program(args=(x,)) above def main(module, x): return module(x)",
        )
    members = {
        name: ProgramSpec(
            name,
            program,
            is_public=True,
            decomposition_table=decomposition_table,
            dim_names=programs.dim_names.get(name, {}),
            external=external_weights(program, getattr(programs, "root_module", program), weights),
        )
        for name, program in programs.programs.items()
    }
    return ModuleSpec(module_name, type(programs).__name__, members, own=tuple(members))
