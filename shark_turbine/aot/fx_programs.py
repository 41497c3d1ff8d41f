# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Several entry points over one nn.Module, as `torch.export` programs that share its state."""

from __future__ import annotations

import copy
import inspect
import io
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from shark_turbine.errors import DeclarationError, LoadError, SaveError
from shark_turbine.files import new_file

from .spec import ModuleSpec, ProgramSpec
from .trace.torch_export import export_module
from .weights import WeightOptions, external_weights

FORMAT = "shark_turbine.FxPrograms"
VERSION = 1
_ROOT = "root_module"


class FxPrograms:
    """ExportedPrograms by the name of their entry point.

    What programs have in common is stored once: the same tensor is one tensor after saving and loading,
    and one global of the module that `aot.export(fx_programs)` makes. A buffer that one entry point
    writes is what the others read.
    """

    def __init__(self, programs: Mapping[str, torch.export.ExportedProgram] | None = None) -> None:
        self.programs: dict[str, torch.export.ExportedProgram] = dict(programs or {})
        # What the user calls the symbols of dynamic dims, by program.
        self.dim_names: dict[str, dict[str, str]] = {}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all programs and their tensors to one file, whole or not at all.

        Raises:
            SaveError: it cannot be written; what was at `path` is untouched.
        """
        path = Path(path)
        content = {
            "format": FORMAT,
            "version": VERSION,
            "programs": {name: _graph_bytes(name, ep) for name, ep in self.programs.items()},
            "state_dict": {name: dict(ep.state_dict) for name, ep in self.programs.items()},
            "constants": {name: _tensors(ep.constants) for name, ep in self.programs.items()},
            "dim_names": self.dim_names,
        }
        with new_file(path) as (file, publish):
            # One call: torch stores memory that tensors share once, and restores the sharing.
            try:
                torch.save(content, file)
            except (OSError, RuntimeError) as error:
                reason = str(error).splitlines()[0]
                raise SaveError(f"{path} cannot be written: {reason}") from error
            publish()

    @staticmethod
    def load(path: str | os.PathLike[str]) -> FxPrograms:
        """Read what `save` wrote.

        Raises:
            LoadError: the file cannot be read, is damaged, or is something else.
        """
        content = _read(path)
        loaded = FxPrograms()
        for name, data in content["programs"].items():
            program = torch.export.load(io.BytesIO(bytes(data.numpy())))
            program._state_dict = content["state_dict"][name]
            program._constants = {**program.constants, **content["constants"][name]}
            loaded.programs[name] = program
        loaded.dim_names = content["dim_names"]
        return loaded

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {', '.join(self.programs) or 'nothing'}>"


class FxProgramsBuilder(FxPrograms):
    """Exports entry points over one nn.Module.

    ::

        fxb = aot.FxProgramsBuilder(model)

        @fxb.export_program(args=(x,))
        def encode(module, x):
            return module.encoder(x)

        vmfb = aot.export(fxb).compile()
    """

    def __init__(self, root_module: torch.nn.Module) -> None:
        super().__init__()
        if not isinstance(root_module, torch.nn.Module):
            raise DeclarationError(
                "entry points are functions of a torch.nn.Module",
                where="aot.FxProgramsBuilder",
                got=type(root_module).__name__,
                expected="an instance of torch.nn.Module",
                fix="aot.FxProgramsBuilder(model)",
            )
        self.root_module = root_module

    def export_program(
        self,
        f: Callable[..., Any] | None = None,
        *,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        dynamic_shapes: Any = None,
        strict: bool = True,
        name: str | None = None,
    ) -> Any:
        """Add an entry point: a function of the module and of example arguments. Use as a decorator.

        Args:
            f: the function; its first argument is the module.
            args: example arguments after the module.
            kwargs: example keyword arguments.
            dynamic_shapes: which dims of them are dynamic, as `torch.export.export` takes it. What
                the program needs of them is checked when the compiled function is called.
            strict: trace with TorchDynamo; False runs the Python code on stand-ins.
            name: the name of the entry point; by default the function's.

        Returns:
            The `torch.export.ExportedProgram`; without `f` a decorator that gives it.

        Raises:
            DeclarationError: there is such an entry point already, or the arguments do not fit.
            DimensionError: the program needs more of a dynamic dim than `dynamic_shapes` says.
            TracingError: torch.export cannot trace the function.
        """
        if f is None:
            return lambda function: self.export_program(
                function,
                args=args,
                kwargs=kwargs,
                dynamic_shapes=dynamic_shapes,
                strict=strict,
                name=name,
            )
        name = _entry_name(f, name)
        if name in self.programs:
            raise DeclarationError(
                f"there is an entry point {name!r} already",
                where="FxProgramsBuilder.export_program",
                got=f"entry points {', '.join(self.programs)}, and {name} again",
                expected="a name for each entry point",
                fix=f'@fxb.export_program(..., name="{name}_2")',
            )
        program, names = export_module(
            _entry_point(self.root_module, f, name),
            tuple(args or ()),
            dict(kwargs or {}),
            dynamic_shapes=dynamic_shapes,
            strict=strict,
            label=name,
        )
        self.programs[name] = _with_plain_names(program)
        self.dim_names[name] = names
        return self.programs[name]


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
            external=external_weights(program, getattr(programs, _ROOT, program), weights),
        )
        for name, program in programs.programs.items()
    }
    return ModuleSpec(module_name, type(programs).__name__, members, own=tuple(members))


def _entry_name(f: Any, name: str | None) -> str:
    if not callable(f) or isinstance(f, (torch.nn.Module, type)):
        raise DeclarationError(
            "an entry point is a function of the module",
            where="FxProgramsBuilder.export_program",
            got=type(f).__name__,
            expected="a function whose first argument is the module",
            fix="@fxb.export_program(args=(x,)) above def main(module, x): return module(x)",
        )
    found = getattr(f, "__name__", "") if name is None else name
    if not isinstance(found, str) or not found.isidentifier():
        raise DeclarationError(
            "an entry point needs a name by which it is called",
            where="FxProgramsBuilder.export_program",
            got=repr(found),
            expected="a Python identifier",
            fix='@fxb.export_program(..., name="main")',
        )
    return found


def _entry_point(root: torch.nn.Module, f: Callable[..., Any], name: str) -> torch.nn.Module:
    """Return a module whose `forward` is a function of the root module, and takes its arguments."""

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        return f(self.root_module, *args, **kwargs)

    signature = inspect.signature(f)
    first, *others = signature.parameters.values() or [None]
    if first is None:
        raise DeclarationError(
            f"entry point {name} takes no module",
            where="FxProgramsBuilder.export_program",
            got=f"def {name}()",
            expected="a function whose first argument is the module",
            fix=f"def {name}(module, ...):",
        )
    # torch.export names arguments after the signature of `forward`, and messages its source line.
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    forward.__signature__ = signature.replace(parameters=[own, *others])  # type: ignore[attr-defined]
    forward.__wrapped__ = f  # type: ignore[attr-defined]
    module = type(name, (torch.nn.Module,), {"forward": forward})()
    module.add_module(_ROOT, root)
    return module


def _with_plain_names(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """Call the state of a fresh program as the root module does, not as the module around it."""

    def plain(name: str) -> str:
        return name.removeprefix(f"{_ROOT}.")

    program._state_dict = {plain(name): value for name, value in program.state_dict.items()}
    program._constants = {plain(name): value for name, value in program.constants.items()}
    signature = program.graph_signature
    for spec in (*signature.input_specs, *signature.output_specs):
        if spec.target is not None:
            spec.target = plain(spec.target)
    return program


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
