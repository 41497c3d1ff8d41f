# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The work of `export`: from a Python object to a vmfb or to MLIR."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from shark_turbine import aot, compiler
from shark_turbine.aot.trace.capture import named_dim
from shark_turbine.compiler.machines import find_machine
from shark_turbine.compiler.recipes import make_recipe
from shark_turbine.errors import CommandLineError, LoadError
from shark_turbine.files import check_target

from .arrays import row_of, to_array
from .attributes import load_attribute, of_user
from .input_spec import DynamicDim, InputSpec
from .output import readable_size
from .steps import Steps

# Example sizes of dynamic dims: all different, so that none is taken for another.
_SIZES = (6, 10, 14, 22, 26, 34, 38, 46, 58, 62)
_OWN_SIGNATURE = (aot.CompiledModule, torch.export.ExportedProgram, aot.FxPrograms)


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
        program = _load(request)
        steps.end(_label(program))
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


# ------------------------------------------------------------------------------------------- the program --


def _load(request: ExportRequest) -> Any:
    place = request.source
    if ":" not in place and Path(place).suffix in (".pt2", ".fx"):
        return _saved_program(place)
    return _program_of(load_attribute(place), place)


def _saved_program(path: str) -> Any:
    if Path(path).suffix == ".fx":
        return aot.FxPrograms.load(path)
    try:
        return torch.export.load(path)
    except Exception as error:  # torch has no word of its own for a file that it cannot read
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise LoadError(
            f"{path} cannot be read as a saved program",
            got=reason,
            expected="a file that torch.export.save wrote",
        ) from error


def _program_of(value: Any, place: str) -> Any:
    """Return what `aot.export` takes: classes and factories are called."""
    if isinstance(value, type) and issubclass(value, aot.CompiledModule):
        return value
    if isinstance(value, type) and issubclass(value, torch.nn.Module):
        return _made(value, f"{value.__name__}()", place)
    if isinstance(value, (torch.nn.Module, *_OWN_SIGNATURE)):
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
    needed = [
        name
        for name, parameter in inspect.signature(factory).parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if needed:
        raise CommandLineError(
            f"{place} needs arguments to be made",
            got=f"a class that takes {', '.join(needed)}",
            expected="an instance, or what can be called without arguments",
            fix=f"define in that module: model = {call.removesuffix(')')}...)",
        )
    made = of_user(call, factory)
    if isinstance(made, (torch.nn.Module, *_OWN_SIGNATURE)) or (
        isinstance(made, type) and issubclass(made, aot.CompiledModule)
    ):
        return made
    raise CommandLineError(
        f"{place} returned nothing that can be exported",
        got=f"{call} gave {type(made).__name__}",
        expected="an nn.Module, a CompiledModule, an ExportedProgram or FxPrograms",
    )


def _label(program: Any) -> str:
    name = getattr(program, "__name__", None) or type(program).__name__
    if not isinstance(program, torch.nn.Module):
        return name
    count = sum(parameter.numel() for parameter in program.parameters())
    size = sum(parameter.nbytes for parameter in program.parameters())
    return f"{name}, {count:,} parameters ({readable_size(size)})"


# ---------------------------------------------------------------------------------------------- tracing --


def _export(program: Any, request: ExportRequest) -> aot.ExportOutput:
    weights: Any = request.weights
    if isinstance(program, (*_OWN_SIGNATURE, type)):
        _refuse_signature(request)
        names = {"module_name": request.module_name, "function_name": request.function_name}
        return aot.export(program, **names, weights=weights)
    if isinstance(program, torch.nn.Module) and not request.training:
        program.eval()
    args, kwargs, shapes = _examples(request, program)
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


def _examples(request: ExportRequest, program: Any) -> tuple[tuple[Any, ...], dict[str, Any], Any]:
    """Return example arguments and which of their dims are dynamic."""
    if request.inputs_from is not None:
        return _examples_from(request.inputs_from)
    sizes: dict[str, int] = {}
    dims: dict[str, Any] = {}
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    shapes: list[Any] = []
    shape_of: dict[str, Any] = {}
    for spec in request.inputs:
        shape = _dynamic_shape(spec, dims)
        value = _example(spec, sizes)
        if spec.name is not None:
            kwargs[spec.name], shape_of[spec.name] = value, shape
            continue
        if kwargs:
            raise CommandLineError(
                "an input without a name comes after one with a name",
                got=f"--input {spec.text}",
                expected="inputs by position first, then those by name",
            )
        args.append(value)
        shapes.append(shape)
    if not any([*shapes, *shape_of.values()]):
        return tuple(args), kwargs, None
    if not kwargs:
        return tuple(args), kwargs, tuple(shapes)
    # Where some arguments have names, torch.export wants them of all.
    function = program.forward if isinstance(program, torch.nn.Module) else program
    names = list(inspect.signature(function).parameters)
    return tuple(args), kwargs, dict(zip(names, shapes, strict=False)) | shape_of


def _example(spec: InputSpec, sizes: dict[str, int]) -> Any:
    """Return the tensor or number of a spec; `sizes` are those of the dims so far."""
    shape: list[int] = []
    for dim in spec.dims:
        if isinstance(dim, int):
            shape.append(dim)
            continue
        name = dim.name or f"?{len(sizes)}"
        free = (size for size in _SIZES if size not in sizes.values())
        size = sizes.setdefault(name, dim.example or next(free, _SIZES[-1] + 2 * len(sizes)))
        if dim.example not in (None, size):
            raise CommandLineError(
                f"the dim {name} has two example sizes",
                got=f"{size} and {dim.example}",
                expected="one: equal names are equal sizes",
            )
        shape.append(size)
    value = to_array(spec, shape)
    if isinstance(value, (bool, int, float)):
        return value
    return torch.from_numpy(value) if spec.dtype is None else _to_tensor(spec, value)


def _to_tensor(spec: InputSpec, array: Any) -> torch.Tensor:
    row = row_of(spec)
    if row.numpy.isbuiltin == 1:
        return torch.from_numpy(array)
    # numpy has no such numbers of its own.
    return torch.from_numpy(array.astype("float32")).to(row.torch)


def _dynamic_shape(spec: InputSpec, dims: dict[str, Any]) -> dict[int, Any] | None:
    shape: dict[int, Any] = {}
    for axis, dim in enumerate(spec.dims):
        if isinstance(dim, DynamicDim) and dim.name is None:
            shape[axis] = named_dim(None)
        elif isinstance(dim, DynamicDim):
            if dim.name not in dims:
                dims[str(dim.name)] = named_dim(dim.name)
            shape[axis] = dims[str(dim.name)]
    return shape or None


def _examples_from(place: str) -> tuple[tuple[Any, ...], dict[str, Any], Any]:
    """Return the arguments that an object of a Python module holds, or a function of it returns."""
    value = load_attribute(place)
    if inspect.isfunction(value):
        value = of_user(f"{value.__name__}()", value)
    match value:
        case tuple() | list():
            return tuple(value), {}, None
        case dict():
            return (), value, None
        case torch.Tensor():
            return (value,), {}, None
        case _:
            raise CommandLineError(
                f"--inputs {place} holds no example inputs",
                got=type(value).__name__,
                expected="a tensor, a tuple or list of arguments, a dict of keyword arguments, or a "
                "function without arguments that returns one of them",
            )


def _signatures(exported: aot.ExportOutput) -> str:
    program = aot.CompiledModule.get_program(exported.compiled_module)
    return "; ".join(str(procedure.signature) for procedure in program.procedures)


# -------------------------------------------------------------------------------------------- compiling --


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
