# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Entry points over one nn.Module, each a function of it that `torch.export` traces."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from shark_turbine.errors import DeclarationError

from ..trace.torch_export import export_module
from .programs import FxPrograms

_ROOT = "root_module"


class FxProgramsBuilder(FxPrograms):
    """Exports entry points over one nn.Module.

    ::

        fxb = aot.FxProgramsBuilder(model)

        @fxb.export_program(args=(x,))
        def encode(module, x):
            return module.encoder(x)

        vmfb = aot.export(fxb).compile()

    Args:
        root_module: the module that every entry point is given first.

    Raises:
        DeclarationError: it is no `torch.nn.Module`.
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
