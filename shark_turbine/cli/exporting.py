# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The work of `export`: from a Python object to a vmfb or to MLIR."""

from __future__ import annotations

import sys
import warnings
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from shark_turbine import aot, compiler
from shark_turbine.compiler.machines import find_machine
from shark_turbine.compiler.recipes import make_recipe
from shark_turbine.errors import CommandLineError, TrainingModeWarning
from shark_turbine.files import check_target

from .arrays import row_of
from .examples import examples_from, examples_of
from .input_spec import InputSpec
from .output import readable_size
from .programs import OWN_SIGNATURE, describe_program, load_program
from .steps import Steps


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What `export` was told, in the words of the command line."""

    source: str
    output: Path
    inputs: tuple[InputSpec, ...]
    inputs_from: str | None
    target: str | None
    recipe: str
    flags: tuple[str, ...]
    weights: str
    parameters: Path | None
    function_name: str | None
    module_name: str | None
    training: bool
    strict: bool
    timeout: float | None
    cache: bool

    @property
    def writes_mlir(self) -> bool:
        return self.output.suffix in (".mlir", ".mlirbc")


def export_file(request: ExportRequest, steps: Steps) -> dict[str, Any]:
    """Export a program and write it; return what was done, for `--json`.

    Raises:
        TurbineError: as the steps of the way do.
    """
    _check(request)
    # What the user's code prints is no result of this command.
    with redirect_stdout(sys.stderr):
        steps.begin("load")
        program = load_program(request.source)
        steps.end(describe_program(program))
        steps.begin("trace")
        exported = _export(program, request)
        steps.end(_signatures(exported))
    if request.writes_mlir:
        steps.begin("write")
        exported.save_mlir(request.output)
        told: dict[str, Any] = {"from_cache": False, "target": None, "recipe": None}
    else:
        told = _compile(exported, request, steps)
    size = request.output.stat().st_size
    steps.end(f"{request.output}, {readable_size(size)}")
    told["parameters"] = _save_parameters(exported, request, steps)
    return {"file": str(request.output), "bytes": size, **told, "seconds": steps.seconds}


def _check(request: ExportRequest) -> None:
    """Refuse at once what would be refused after hours."""
    check_target(request.output)
    if request.parameters is not None:
        check_target(request.parameters)
    if request.target is not None:
        find_machine(request.target)
    make_recipe(request.recipe)
    for spec in request.inputs:
        if spec.dtype is not None:
            row_of(spec)


def _export(program: Any, request: ExportRequest) -> aot.ExportOutput:
    weights: Any = request.weights
    if isinstance(program, (*OWN_SIGNATURE, type)):
        _refuse_signature(request)
        return aot.export(
            program,
            module_name=request.module_name,
            function_name=request.function_name,
            weights=weights,
        )
    if isinstance(program, torch.nn.Module) and not request.training:
        program.eval()
    if request.inputs_from is not None:
        args, kwargs, shapes = examples_from(request.inputs_from)
    else:
        args, kwargs, shapes = examples_of(request.inputs, program)
    with warnings.catch_warnings():
        if request.training:  # it is meant
            warnings.simplefilter("ignore", TrainingModeWarning)
        return aot.export(
            program,
            args=args,
            kwargs=kwargs,
            dynamic_shapes=shapes,
            module_name=request.module_name,
            function_name=request.function_name,
            strict_export=request.strict,
            weights=weights,
        )


def _refuse_signature(request: ExportRequest) -> None:
    given = "--input" if request.inputs else "--inputs" if request.inputs_from else None
    if given is not None:
        raise CommandLineError(
            f"{request.source} brings its own signature",
            got=given,
            expected="no example inputs",
            fix=f"leave {given} out",
        )


def _signatures(exported: aot.ExportOutput) -> str:
    procedures = aot.CompiledModule.get_program(exported.compiled_module).procedures
    if len(procedures) == 1:
        return str(procedures[0].signature)
    return f"{len(procedures)} functions: {', '.join(each.signature.name for each in procedures)}"


def _compile(exported: aot.ExportOutput, request: ExportRequest, steps: Steps) -> dict[str, Any]:
    phases: list[str] = []

    def begin(phase: str) -> None:
        phases.append(phase)
        steps.begin(phase)

    steps.begin("prepare")
    with compiler.watching_phases(begin):
        vmfb = exported.compile(
            request.output,
            target=request.target,
            recipe=request.recipe,
            flags=request.flags,
            timeout=request.timeout,
            cache=request.cache,
        )
    if not phases:
        steps.end("nothing to do: it is in the cache")
        steps.begin("write")
    dispatches = vmfb.dispatches
    return {
        "module": vmfb.manifest["module"],
        "functions": [
            {"signature": str(signature), **signature.to_json()} for signature in vmfb.functions
        ],
        "target": vmfb.target,
        "recipe": vmfb.manifest["recipe"],
        "kernels": None if dispatches is None else len(dispatches.kernels),
        "from_cache": not phases,
    }


def _save_parameters(
    exported: aot.ExportOutput, request: ExportRequest, steps: Steps
) -> dict[str, Any] | None:
    """Write external weights, where they are not those of a checkpoint, which has them."""
    if request.parameters is None:
        return None
    steps.begin("parameters")
    exported.save_parameters(request.parameters)
    size = request.parameters.stat().st_size
    steps.end(f"{request.parameters}, {readable_size(size)}")
    return {"file": str(request.parameters), "bytes": size}
