# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A loaded module: its functions by name, over one VM context."""

from __future__ import annotations

import difflib
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

import iree.runtime as iree

from ..errors import ExecutionError, LoadError
from ..signature import FunctionSignature
from ..versions import installed
from . import devices, failures, reflection
from .artifact import Artifact
from .devices import Device
from .function import LoadedFunction


class LoadedModule:
    """The functions of a compiled module, ready to call: `module.main(x)` or `module["main"](x)`.

    Calls are safe from several threads. Those of a module with state, or of one that does not say
    that it has none, run one after the other; the others run at the same time.
    """

    def __init__(self, artifact: Artifact, device: Device, providers: Sequence[Any]) -> None:
        manifest = artifact.manifest or {}
        self.origin = artifact.origin
        self.device = device
        self.lock = None if manifest.get("stateful") is False else threading.Lock()
        # An artifact may update its arguments in place; only one that says it does not is given the
        # caller's own memory.
        share = manifest.get("preserves_inputs") is True
        native = self._attach(artifact, providers)
        self.name = str(native.name)
        self._functions: dict[str, LoadedFunction] = {}
        self._load_functions(native, artifact.functions, share=share)
        devices.register(self)

    def _attach(self, artifact: Artifact, providers: Sequence[Any]) -> Any:
        vm = devices.instance()
        memory = artifact.memory
        try:
            # wrap_buffer does not own what it maps; the callback does, until the module is gone.
            native = iree.VmModule.wrap_buffer(vm, memory, destroy_callback=lambda: memory)
            modules = [self.device.module]
            if providers:
                modules.append(iree.create_io_parameters_module(vm, *providers))
            self.context: Any = iree.VmContext(vm, [*modules, native])
        except Exception as error:
            version = installed("iree-base-runtime") or "?"
            raise failures.from_load(error, artifact.origin, artifact.manifest, version) from error
        return native

    def _load_functions(
        self, native: Any, signatures: Sequence[FunctionSignature], *, share: bool
    ) -> None:
        known = {signature.name: signature for signature in signatures}
        exported = [
            name
            for name in native.function_names
            if not name.startswith("__") and not name.endswith("$async")
        ]
        names = list(known) if known else exported
        for name in names:
            function = native.lookup_function(name)
            if function is None:
                raise LoadError(
                    f"the manifest names a function {name!r} that the vmfb does not hold",
                    where=self.origin,
                    got=", ".join(exported),
                    fix="compile it again",
                )
            signature = known.get(name) or reflection.signature(
                name, function.reflection.get("iree.abi.declaration", "")
            )
            if signature is not None:
                self._functions[name] = LoadedFunction(self, function, signature, share=share)

    @property
    def functions(self) -> tuple[str, ...]:
        """The names of the functions, in order."""
        return tuple(self._functions)

    def signature(self, name: str) -> FunctionSignature:
        """Return what the function called `name` takes and gives."""
        return self[name].signature

    def __getitem__(self, name: str) -> LoadedFunction:
        found = self._functions.get(name)
        if found is None:
            raise KeyError(self._no_function(name))
        return found

    def __getattr__(self, name: str) -> LoadedFunction:
        functions: Mapping[str, LoadedFunction] = self.__dict__.get("_functions", {})
        if name in functions:
            return functions[name]
        raise AttributeError(self._no_function(name) if functions else name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._functions)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._functions]

    def __repr__(self) -> str:
        return f"<module {self.name!r} of {self.origin} on {self.device.uri}>"

    def __str__(self) -> str:
        lines = [f"module @{self.name}  # {self.origin}, {self.device.uri}"]
        for function in self._functions.values():
            lines.append(f"  {function.signature}")
            lines += [f"    {contract}" for contract in function.signature.contracts]
        return "\n".join(lines)

    def _no_function(self, name: str) -> str:
        close = difflib.get_close_matches(name, self._functions, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        names = ", ".join(self._functions) or "none"
        return f"module {self.name!r} has no function {name!r}{hint} (it has: {names})"

    def close(self) -> None:
        """Let go of the native objects; calls fail afterwards. Results stay valid."""
        self.context = None

    def refuse(self) -> NoReturn:
        """Say why a call is not possible (any more)."""
        self.device.check()
        devices.park()
        raise ExecutionError(
            f"module {self.name!r} was closed", where=self.origin, fix="load it again"
        )

    def after_fork(self) -> None:
        """Replace a lock that a thread of the parent may have held."""
        if self.lock is not None:
            self.lock = threading.Lock()
