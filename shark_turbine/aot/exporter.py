# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`aot.export` and what it gives: the simple door to the ahead-of-time road."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any, TextIO

import torch

from .. import compiler, ir
from ..errors import DeclarationError, SourceLocation
from .compiled_module import CompiledModule, CompiledModuleMeta
from .declare.programs import spec_of_program
from .emit import describe_state, run_import, verify, with_accessors
from .external import describe_parameters, parameter_values
from .fx_programs import FxPrograms, spec_of_fx_programs
from .trace.torch_export import export_module
from .trace.training_mode import warn_of_training_mode
from .tunable_output import TunableOutput
from .weights import (
    NameMapper,
    WeightOptions,
    Weights,
    external_weights,
    refuse_for_compiled_module,
)


class Session:
    """Options of the compiler that go with an export, besides those given to `compile()`."""

    def __init__(self) -> None:
        self.flags: tuple[str, ...] = ()

    def set_flags(self, *flags: str) -> None:
        """Add options of `iree-compile`, such as `--iree-opt-level=O3`."""
        self.flags = (*self.flags, *flags)


class ExportOutput(TunableOutput):
    """An exported program: one MLIR module, ready to be read, saved or compiled.

    `aot.export` makes it.

    Args:
        compiled_module: the program, traced and written as MLIR.
        eager: the nn.Module or function that it was exported from, which tuning compares with.
    """

    def __init__(
        self, compiled_module: CompiledModule, eager: Callable[..., Any] | None = None
    ) -> None:
        super().__init__(compiled_module, eager)
        self.session = Session()

    @property
    def mlir_module(self) -> Any:
        """The `iree.compiler.ir.Module`."""
        return CompiledModule.get_mlir_module(self.compiled_module)

    def verify(self) -> None:
        """Run MLIR's verifier.

        Raises:
            CompileError: the module was changed into something invalid.
        """
        verify(self.mlir_module)

    def print_readable(self, large_elements_limit: int = 50, file: TextIO | None = None) -> None:
        """Print the module as text.

        Args:
            large_elements_limit: tensors of more elements than that are elided.
            file: where to print; standard output by default.
        """
        text = self.mlir_module.operation.get_asm(
            large_elements_limit=large_elements_limit, large_resource_limit=large_elements_limit
        )
        print(text, file=sys.stdout if file is None else file)

    def save_mlir(self, path: str | PathLike[str]) -> None:
        """Write the module to a file.

        Args:
            path: bytecode is written where it ends in `.mlirbc`, text otherwise.

        Raises:
            SaveError: the file cannot be written; what was there before is untouched.
        """
        ir.write_module(self.mlir_module, path)

    def import_to(self, phase: str | None) -> None:
        """Lower the module in place.

        Args:
            phase: `"import"` keeps torch's operations, `"input"` and `"full"` lower them to those
                that IREE takes; None is `"import"`.

        Raises:
            DeclarationError: there is no such phase.
            CompileError: an operation cannot be lowered.
        """
        run_import(self.mlir_module, phase)

    def lower(self, kind: compiler.Kind = "linalg-on-tensors") -> str:
        """Return the module as text for other MLIR compilers, through the torch-mlir package.

        Args:
            kind: `"linalg-on-tensors"`, `"stablehlo"` or `"tosa"`.

        Raises:
            CompileError: torch-mlir is not installed, or cannot lower an operation.
        """
        return compiler.lower(self.mlir_module, kind)

    def save_parameters(self, path: str | PathLike[str], *, scope: str | None = None) -> None:
        """Write the external parameters to a file, whole or not at all; tied weights once.

        Args:
            path: ends in `.irpa` or `.safetensors`.
            scope: which scope to write; may be left out where there is one.

        Raises:
            DeclarationError: the program has no external parameters, or several scopes.
            ParameterError: the values of some are not known, or the file cannot hold them.
            SaveError: the file cannot be written; what was there before is untouched.
        """
        tensors = parameter_values(CompiledModule.get_program(self.compiled_module), scope)
        # Only who writes archives needs IREE's runtime.
        from .params import ParameterArchiveBuilder  # noqa: PLC0415

        builder = ParameterArchiveBuilder()
        for key, tensor in tensors.items():
            builder.add_tensor(key, tensor)
        builder.save(path)

    def compile(
        self,
        save_to: str | PathLike[str] | None = None,
        *,
        target_backends: Sequence[str] = ("llvm-cpu",),
        target_cpu: str | None = "host",
        target_cpu_features: str | None = None,
        target_triple: str | None = None,
        target: str | None = None,
        recipe: str | compiler.Recipe = "auto",
        flags: Sequence[str] = (),
        timeout: float | None = compiler.DEFAULT_TIMEOUT,
        strip_contracts: bool = False,
        lowering: compiler.Lowering = "iree",
        cache: bool = True,
        hash_parameters: bool = True,
        tune: bool | float = False,
    ) -> compiler.Vmfb:
        """Compile to a vmfb that runs without PyTorch and without Python.

        The compiler runs in a child process: a crash of it is an exception here.

        Args:
            save_to: a path to write to, whole or not at all; None keeps the vmfb in memory.
            target_backends: IREE's backends, such as `llvm-cpu`, `vmvx`, `cuda`.
            target_cpu: an LLVM CPU name, `host` for this machine (fast, not portable), `generic`.
            target_cpu_features: features with signs, `+avx2,-fma`, besides those of the CPU.
            target_triple: an LLVM triple; None is this machine's.
            target: a named target instead of the four above: `host`, `x86-64-v3`, `aarch64-linux`,
                `cuda:sm_90`, ... (`shark_turbine.compiler.MACHINES` lists them).
            recipe: how to compile: `auto` chooses by target and by what is in the module;
                `prepacked` also packs external weights when they are loaded; `size`, `debug`,
                `portable` (machines of the last ten years), `none`; or a
                `shark_turbine.compiler.Recipe`.
            flags: more options of `iree-compile`; they replace the same options of ours.
            timeout: seconds until the compiler is killed; None waits for ever.
            strip_contracts: leave out the run-time checks of shapes, ranges and indices. A call
                that breaks a contract then reads memory that is not its own.
            lowering: `iree`, or `torch-mlir` to lower torch operators with that package.
            cache: take the vmfb from the disk where the same program was compiled with the same
                options before, and keep it there. Programs with more than 128 MB of weights inside
                are compiled each time.
            hash_parameters: note a hash of each external parameter in the vmfb, which `load`
                compares with what it is given. It is computed beside the compilation, by all cores,
                at some gigabytes a second each.
            tune: use the recipe that `tune` found to be the fastest for this program on this CPU.
                Where none is remembered, tune with the example arguments of the export, for at most
                ten minutes, or so many seconds as are given here. `recipe` is then what others have
                to beat.

        Returns:
            The vmfb. `map_memory()` of it is what `VmModule.wrap_buffer` takes.

        Raises:
            CompileError: the compiler refused, crashed or took too long; `.diagnostics` say why.
            TuningError: `tune` is set, and the program cannot be tuned here.
        """
        options: dict[str, Any] = {
            "target_backends": target_backends,
            "target_cpu": target_cpu,
            "target_cpu_features": target_cpu_features,
            "target_triple": target_triple,
            "target": target,
            "recipe": recipe,
            "flags": flags,
            "timeout": timeout,
            "strip_contracts": strip_contracts,
            "lowering": lowering,
        }
        module, options = self._described(options, with_hashes=hash_parameters)
        if tune is not False:
            options |= self._tuned(module, options, tune)
        if not cache:
            return compiler.compile(module, save_to=save_to, **options)
        return compiler.compile_cached(module, save_to=save_to, **options)[0]

    def _described(
        self, options: dict[str, Any], *, with_hashes: bool
    ) -> tuple[Any, dict[str, Any]]:
        """Return the module that is compiled, and options with what its manifest says."""
        program = CompiledModule.get_program(self.compiled_module)
        spec = CompiledModule.get_spec(self.compiled_module)
        module, state = with_accessors(self.mlir_module, describe_state(spec, program))
        return module, {
            **options,
            "flags": (*self.session.flags, *options["flags"]),
            "signatures": [procedure.signature for procedure in program.procedures],
            "name": spec.label,
            "stateful": program.is_stateful,
            "state": state,
            "preserves_inputs": True,
            "parameters": describe_parameters(program, with_hashes=with_hashes),
        }


Table = Mapping[Any, Callable[..., Any]]


def export(
    mdl: Any,
    /,
    *example_args: Any,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    dynamic_shapes: Any = None,
    module_name: str | None = None,
    function_name: str | None = None,
    strict_export: bool = True,
    decomposition_table: Table | None = None,
    weights: Weights = "inline",
    external_scope: str | None = None,
    name_mapper: NameMapper | None = None,
) -> ExportOutput:
    """Export a PyTorch program to one MLIR module.

    Args:
        mdl: a `torch.nn.Module`, a plain function of tensors, a `torch.export.ExportedProgram`,
            `FxPrograms`, or a `CompiledModule` class or instance (the last four bring their own
            signatures).
        *example_args: example arguments, as the module is called.
        args: the same as a sequence, instead of `*example_args`.
        kwargs: example keyword arguments.
        dynamic_shapes: which dims are dynamic, as `torch.export.export` takes it. Equalities and
            ranges are checked when the compiled function is called.
        module_name: the MLIR module's name; `module` by default.
        function_name: the function's name; `main` by default.
        strict_export: trace with TorchDynamo (as `torch.export.export(strict=True)`), which
            analyses the bytecode; False runs the Python code on stand-ins.
        decomposition_table: replaces the default table (see `current_aot_decompositions`).
        weights: where the parameters and persistent buffers are: `"inline"` stores them in the vmfb;
            `"external"` leaves them out, for `save_parameters(path)` to write; the path of a
            checkpoint (a file, a folder, or a list of files: `.safetensors`, `.irpa`, `.gguf`)
            leaves them out too, and takes them from there. `load(vmfb, parameters=path)` attaches
            them. Tensors with an `ExternalTensorTrait` are external in any case.
        external_scope: the scope of external weights; `model` by default.
        name_mapper: maps the qualified name of a parameter to the key in the file; None keeps it.
            Without it a common prefix, such as `model.`, may come before the names or be missing.

    Raises:
        DeclarationError: `mdl` is nothing that can be exported, or the arguments contradict it.
        DimensionError: the program needs more of a dynamic dim than `dynamic_shapes` says.
        TracingError: torch.export cannot trace the program.
        UnsupportedTypeError: a value or dtype cannot be carried.
        ParameterError: the checkpoint cannot be read, or does not hold the weights of `mdl`.
    """
    options = WeightOptions(weights, external_scope, name_mapper)
    options.check()
    if isinstance(mdl, (CompiledModule, CompiledModuleMeta)):
        refuse_for_compiled_module(options, _label(mdl))
    if isinstance(mdl, CompiledModuleMeta):
        return ExportOutput(mdl())
    if isinstance(mdl, CompiledModule):
        return ExportOutput(mdl)
    if isinstance(mdl, FxPrograms):
        spec = spec_of_fx_programs(mdl, module_name or "module", decomposition_table, options)
        return ExportOutput(CompiledModule.from_spec(spec))
    if example_args and args is not None:
        raise DeclarationError(
            "example arguments are given twice",
            where="aot.export",
            got="positional example arguments and args=",
            expected="one of the two",
            fix="aot.export(module, x, y), or aot.export(module, args=(x, y))",
        )
    if isinstance(mdl, type):
        raise DeclarationError(
            f"{mdl.__name__} is a class; export an instance of it",
            where="aot.export",
            got=f"the class {mdl.__name__}",
            expected="an nn.Module, a function, an ExportedProgram, or a CompiledModule",
            fix=f"aot.export({mdl.__name__}(), example_input)",
        )
    names: Mapping[str, str] = {}
    if isinstance(mdl, torch.export.ExportedProgram):
        program = mdl
    elif isinstance(mdl, torch.nn.Module) or callable(mdl):
        program, names = export_module(
            mdl,
            tuple(example_args if args is None else args),
            dict(kwargs or {}),
            dynamic_shapes=dynamic_shapes,
            strict=strict_export,
            label=_label(mdl),
        )
    else:
        raise DeclarationError(
            "this cannot be exported",
            where="aot.export",
            got=f"{type(mdl).__name__}",
            expected="an nn.Module, a function, an ExportedProgram, or a CompiledModule",
            fix="aot.export(model, example_input)",
        )
    if isinstance(mdl, torch.nn.Module):
        warn_of_training_mode(mdl, _label(mdl))
    spec = spec_of_program(
        program,
        module_name=module_name or "module",
        function_name=function_name or "main",
        label=_label(mdl),
        location=_location(mdl),
        decomposition_table=decomposition_table,
        dim_names=names,
        external=external_weights(program, mdl, options),
    )
    eager = None if isinstance(mdl, torch.export.ExportedProgram) else mdl
    return ExportOutput(CompiledModule.from_spec(spec), eager)


def _label(mdl: Any) -> str:
    if isinstance(mdl, torch.export.ExportedProgram):
        return "ExportedProgram"
    return getattr(mdl, "__name__", None) or type(mdl).__name__


def _location(mdl: Any) -> SourceLocation | None:
    function = mdl.forward if isinstance(mdl, torch.nn.Module) else mdl
    # Decorated functions name what they wrap: transformers decorates every `forward`.
    code = getattr(inspect.unwrap(getattr(function, "__func__", function)), "__code__", None)
    return None if code is None else SourceLocation.from_function(code)
