# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`CompiledModule`: a class body is a program; an instance is its MLIR module."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any, NoReturn

from .. import ir, trees
from ..errors import DeclarationError, TracingError
from .declare import collect_body
from .emit import emit_program, run_import
from .program import Program
from .spec import GlobalTree, ModuleSpec, ProcedureSpec, ProgramSpec
from .trace import record_module


class CompiledModuleMeta(type):
    """Collects a class body into one `ModuleSpec`; keeps dunders and nothing else of the body."""

    def __new__(
        mcs,
        name: str,
        bases: tuple[type, ...],
        body: Mapping[str, Any],
        *,
        export_name: str | None = None,
    ) -> CompiledModuleMeta:
        if not bases:
            return super().__new__(mcs, name, bases, dict(body))
        dunders = {key: body[key] for key in body if key.startswith("__") and key.endswith("__")}
        cls = super().__new__(mcs, name, bases, dunders)
        inherited = [vars(base).get("_spec") for base in reversed(cls.__mro__[1:])]
        _refuse_foreign_bases(name, cls.__mro__[1:])
        cls._spec = collect_body(
            name, body, [spec for spec in inherited if spec is not None], export_name
        )
        return cls

    def __init__(cls, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args)

    def __setattr__(cls, name: str, value: Any) -> None:
        if name != "_spec" and not name.startswith("__"):
            raise DeclarationError(
                "a compiled module is declared by its class body; it does not change afterwards",
                where=f"{cls.__name__}.{name}",
                got=f"{cls.__name__}.{name} = ...  # a {type(value).__name__}",
                expected="members that are declared in the class body",
                fix=f"declare {name} in the body of {cls.__name__} or of a subclass",
            )
        super().__setattr__(name, value)

    def __getattr__(cls, name: str) -> Any:
        """Return the types of a declared global or structure of globals: signatures can name them."""
        members = getattr(vars(cls).get("_spec"), "members", {})
        member = None if name.startswith("_") else members.get(name)
        if isinstance(member, GlobalTree):
            return trees.map_leaves(lambda item: item.type, member.structure)
        hint = f": it was collected; str({cls.__name__}._spec) shows what was declared"
        raise AttributeError(
            f"type object {cls.__name__!r} has no attribute {name!r}{hint if member else ''}"
        )


class CompiledModule(metaclass=CompiledModuleMeta):
    """A program: subclass it, declare functions and state in the body, instantiate to build it.

    Exported methods, `aot.jittable` functions, `aot.export_*` state and `ExportedProgram`s in the
    class body become one MLIR module. Building happens at once and verifies.

    Args:
        context: the `iree.compiler.ir.Context` to build in; a new one by default.
        import_to: how far to lower: `"import"` (torch operations, the default), `"input"` or
            `"full"` (IREE's input); None is `"import"`.

    Raises:
        TurbineError: the program cannot be traced; the message names the member and its line.
    """

    _spec: ModuleSpec

    def __init__(self, context: Any | None = None, import_to: str | None = "import") -> None:
        spec = getattr(type(self), "_spec", None)
        if spec is None:
            raise DeclarationError(
                "CompiledModule itself declares nothing",
                got="aot.CompiledModule()",
                expected="a subclass with a body",
                fix="class MyModule(aot.CompiledModule): ...",
            )
        self._build(spec, context, import_to)

    @classmethod
    def from_spec(cls, spec: ModuleSpec, context: Any | None = None) -> CompiledModule:
        """Build a module from a declaration that was made without a class.

        Args:
            spec: the declaration.
            context: as for the class.
        """
        instance = object.__new__(CompiledModule)
        instance._build(spec, context, None)
        return instance

    def _build(self, spec: ModuleSpec, context: Any | None, import_to: str | None) -> None:
        self._declared = spec
        self._program = record_module(spec)
        for rewrite in spec.rewrites:
            self._program = rewrite(self._program)
        self._module = emit_program(self._program, context)
        run_import(self._module, import_to)

    def __getattr__(self, name: str) -> NoReturn:
        spec: ModuleSpec | None = self.__dict__.get("_declared")
        member = None if spec is None else spec.members.get(name)
        if isinstance(member, (ProcedureSpec, ProgramSpec)):
            raise TracingError(
                f"{name} is an exported function: it runs in the compiled module, not here",
                where=f"{spec.label if spec else ''}.{name}",
                got=f"{name} read from an instance, which only holds the MLIR module",
                expected=f"{name} of a module that was compiled and loaded",
                fix=f"shark_turbine.runtime.load(aot.export(module).compile()).{name}(...)",
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @staticmethod
    def get_mlir_module(inst: CompiledModule) -> Any:
        """Return the `iree.compiler.ir.Module` of an instance, `inst`."""
        return inst._module

    @staticmethod
    def get_spec(inst: CompiledModule) -> ModuleSpec:
        """Return what was declared for an instance, `inst`; `str()` of it is readable."""
        return inst._declared

    @staticmethod
    def get_program(inst: CompiledModule) -> Program:
        """Return what tracing recorded for an instance, `inst`; `str()` of it is readable."""
        return inst._program

    @staticmethod
    def run_import(inst: CompiledModule, import_to: str | None = "import") -> None:
        """Lower the module of an instance, `inst`, in place; `import_to` is that of the class."""
        run_import(inst._module, import_to)

    @staticmethod
    def save_mlir(inst: CompiledModule, path: str | PathLike[str]) -> None:
        """Write the module of an instance.

        Args:
            inst: the instance.
            path: bytecode is written where it ends in `.mlirbc`, text otherwise.

        Raises:
            SaveError: the file cannot be written; what was there before is untouched.
        """
        ir.write_module(inst._module, path)


def _refuse_foreign_bases(name: str, bases: tuple[type, ...]) -> None:
    for base in bases:
        if base is not object and not isinstance(base, CompiledModuleMeta):
            raise DeclarationError(
                f"base class {base.__name__} is no CompiledModule: its methods would not be exported",
                where=name,
                got=f"class {name}({base.__name__}, ...)",
                expected="bases that derive from aot.CompiledModule",
                fix=f"class {base.__name__}(aot.CompiledModule)",
            )
