# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The file of `FxPrograms`: programs without their tensors, and the tensors, each memory once."""

from __future__ import annotations

import copy
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from shark_turbine.errors import LoadError, SaveError
from shark_turbine.files import new_file

FORMAT = "shark_turbine.FxPrograms"
VERSION = 1

Programs = Mapping[str, torch.export.ExportedProgram]
DimNames = Mapping[str, Mapping[str, str]]


def write_programs(path: str | os.PathLike[str], programs: Programs, dim_names: DimNames) -> None:
    """Write programs and their tensors to one file, whole or not at all.

    Raises:
        SaveError: it cannot be written; what was at `path` is untouched.
    """
    path = Path(path)
    content = {
        "format": FORMAT,
        "version": VERSION,
        "programs": {name: _graph_bytes(name, ep) for name, ep in programs.items()},
        "state_dict": {name: dict(ep.state_dict) for name, ep in programs.items()},
        "constants": {name: _tensors(ep.constants) for name, ep in programs.items()},
        "dim_names": {name: dict(names) for name, names in dim_names.items()},
    }
    with new_file(path) as (file, publish):
        # One call: torch stores memory that tensors share once, and restores the sharing.
        try:
            torch.save(content, file)
        except (OSError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise SaveError(f"{path} cannot be written: {reason}") from error
        publish()


def read_programs(
    path: str | os.PathLike[str],
) -> tuple[dict[str, torch.export.ExportedProgram], dict[str, dict[str, str]]]:
    """Return the programs of a file, and what the user calls the symbols of their dynamic dims.

    Raises:
        LoadError: the file cannot be read, is damaged, or is something else.
    """
    content = _read(path)
    programs: dict[str, torch.export.ExportedProgram] = {}
    for name, data in content["programs"].items():
        program = torch.export.load(io.BytesIO(bytes(data.numpy())))
        program._state_dict = content["state_dict"][name]
        program._constants = {**program.constants, **content["constants"][name]}
        programs[name] = program
    return programs, content["dim_names"]


def _graph_bytes(name: str, program: torch.export.ExportedProgram) -> torch.Tensor:
    """Return a program without its tensors as bytes."""
    empty = copy.copy(program)
    empty._state_dict = {key: _without_data(value) for key, value in program.state_dict.items()}
    empty._constants = {key: _without_data(value) for key, value in program.constants.items()}
    buffer = io.BytesIO()
    try:
        torch.export.save(empty, buffer)
    except Exception as error:
        raise SaveError(
            f"entry point {name} cannot be saved: {str(error).splitlines()[0]}",
            fix="export it again where it is compiled, without saving it",
        ) from error
    return torch.frombuffer(bytearray(buffer.getbuffer()), dtype=torch.uint8)


def _without_data(value: Any) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    meta = torch.empty(value.shape, dtype=value.dtype, device="meta")
    if isinstance(value, torch.nn.Parameter):
        return torch.nn.Parameter(meta, requires_grad=value.requires_grad)
    return meta


def _tensors(values: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    return {key: value for key, value in values.items() if isinstance(value, torch.Tensor)}


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        content = torch.load(path, weights_only=True)
    except Exception as error:
        raise LoadError(
            f"{os.fspath(path)} cannot be read as FxPrograms",
            where="FxPrograms.load",
            got=str(error).splitlines()[0][:200] or type(error).__name__,
            expected="a file that FxPrograms.save wrote",
            fix="save it again",
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise LoadError(
            f"{os.fspath(path)} holds no FxPrograms",
            where="FxPrograms.load",
            got=f"a {type(content).__name__} that torch.save wrote",
            expected="a file that FxPrograms.save wrote",
        )
    if content.get("version") != VERSION:
        raise LoadError(
            f"{os.fspath(path)} was written by another version of shark_turbine",
            where="FxPrograms.load",
            got=f"version {content.get('version')} of the format",
            expected=f"version {VERSION}",
            fix="save it again with this version",
        )
    return content
