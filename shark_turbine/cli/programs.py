# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The program that a user names on the command line: classes and factories are called, files are read."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from shark_turbine import aot
from shark_turbine.errors import CommandLineError, LoadError

from .attributes import load_attribute, of_user
from .output import readable_size

OWN_SIGNATURE = (aot.CompiledModule, torch.export.ExportedProgram, aot.FxPrograms)
"""What says itself which arguments it takes."""


def load_program(place: str) -> Any:
    """Return what a user names on the command line, ready for `aot.export`.

    Raises:
        CommandLineError: there is no such thing, or it cannot be exported, or making it fails.
        LoadError: a saved program cannot be read.
    """
    if ":" not in place and Path(place).suffix in (".pt2", ".fx"):
        return _saved_program(place)
    return _program_of(load_attribute(place), place)


def _saved_program(path: str) -> Any:
    if Path(path).suffix == ".fx":
        return aot.FxPrograms.load(path)
    # Of a file that it cannot read it logs a traceback before it raises.
    log = logging.getLogger("torch.export")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        return torch.export.load(path)
    except Exception as error:  # torch has no word of its own for a file that it cannot read
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise LoadError(
            f"{path} cannot be read as a saved program",
            got=reason,
            expected="a file that torch.export.save wrote",
        ) from error
    finally:
        log.setLevel(level)


def _program_of(value: Any, place: str) -> Any:
    """Return what `aot.export` takes: classes and factories are called."""
    if isinstance(value, type) and issubclass(value, aot.CompiledModule):
        return value
    if isinstance(value, type) and issubclass(value, torch.nn.Module):
        return _made(value, f"{value.__name__}()", place)
    if isinstance(value, (torch.nn.Module, *OWN_SIGNATURE)):
        return value
    if inspect.isfunction(value) and not inspect.signature(value).parameters:
        return _made(value, f"{value.__name__}()", place)
    if callable(value) and not isinstance(value, type):
        return value
    raise CommandLineError(
        f"{place} cannot be exported",
        got=f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__,
        expected="an nn.Module, a CompiledModule, an ExportedProgram, FxPrograms, a function of "
        "tensors, or a function without arguments that returns one of them",
    )


def _made(factory: Callable[[], Any], call: str, place: str) -> Any:
    needed = required_arguments(factory)
    if needed:
        raise CommandLineError(
            f"{place} needs arguments to be made",
            got=f"a class that takes {', '.join(needed)}",
            expected="an instance, or what can be called without arguments",
            fix=f"define in that module: model = {call.removesuffix(')')}...)",
        )
    made = of_user(call, factory)
    if isinstance(made, (torch.nn.Module, *OWN_SIGNATURE)) or (
        isinstance(made, type) and issubclass(made, aot.CompiledModule)
    ):
        return made
    raise CommandLineError(
        f"{place} returned nothing that can be exported",
        got=f"{call} gave {type(made).__name__}",
        expected="an nn.Module, a CompiledModule, an ExportedProgram or FxPrograms",
    )


def describe_program(program: Any) -> str:
    """Return what a program is, in a few words."""
    name = getattr(program, "__name__", None) or type(program).__name__
    if not isinstance(program, torch.nn.Module):
        return name
    count = sum(parameter.numel() for parameter in program.parameters())
    size = sum(parameter.nbytes for parameter in program.parameters())
    return f"{name}, {count:,} parameters ({readable_size(size)})"


def required_arguments(function: Callable[..., Any]) -> list[str]:
    """Return the names of the arguments that a call cannot leave out."""
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.default is parameter.empty and parameter.kind not in optional
    ]
