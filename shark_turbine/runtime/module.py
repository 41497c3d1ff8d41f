# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A loaded module: its functions by name, over one VM context."""

from __future__ import annotations

import difflib
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NoReturn

import iree.runtime as iree
import torch

from ..errors import ExecutionError, LoadError, StateError
from ..signature import FunctionSignature
from ..versions import installed
from . import devices, failures, huge_pages, reflection, state, state_files
from .artifact import Artifact
from .devices import Device
from .function import LoadedFunction
from .parameters import Attached
from .state import IncompatibleKeys

# A function of the module under such a name is what the attribute means.
_STATE_METHODS = ("state_dict", "load_state_dict", "reset", "fork", "save_state", "load_state")


# Seconds in which a worker thread has put away what belonged to a call that has returned.
_RETIREMENT = 0.001


class LoadedModule:
    """The functions of a compiled module, ready to call: `module.main(x)` or `module["main"](x)`.

    Calls are safe from several threads. Those of a module with state, or of one that does not say
    that it has none, run one after the other; the others run at the same time.

    The state of a module are its mutable globals. `fork()` gives modules with states of their own,
    whose calls run at the same time. A function of the module that is called like a method of this
    class wins: where it has a function `reset`, the method is `LoadedModule.reset(module)`.

    `load` makes it.

    Args:
        artifact: the verified bytes, and what they say about themselves.
        device: where the module runs.
        parameters: the external parameters, one index for each scope.
    """

    def __init__(self, artifact: Artifact, device: Device, parameters: Sequence[Attached]) -> None:
        manifest = artifact.manifest or {}
        self.origin = artifact.origin
        self.device = device
        self.lock = None if manifest.get("stateful") is False else threading.Lock()
        # An artifact may update its arguments in place; only one that says it does not is given the
        # caller's own memory.
        share = manifest.get("preserves_inputs") is True
        self._artifact, self._parameters = artifact, parameters
        self._modules = self._map(artifact, parameters)
        self.context: Any = self._start()
        native = self._modules[-1]
        self.name = str(native.name)
        self._functions: dict[str, LoadedFunction] = {}
        self._load_functions(native, artifact.functions, share=share)
        self._state = state.find_state(artifact, native, device.hal)
        devices.register(self)

    def _map(self, artifact: Artifact, parameters: Sequence[Attached]) -> list[Any]:
        """Return the VM modules, of which the last is the artifact."""
        vm = devices.instance()
        memory = artifact.memory
        try:
            # wrap_buffer does not own what it maps; the callback does, until the module is gone.
            native = iree.VmModule.wrap_buffer(vm, memory, destroy_callback=lambda: memory)
            modules = [self.device.module]
            if parameters:
                providers = [attached.provider() for attached in parameters]
                modules.append(iree.create_io_parameters_module(vm, *providers))
        except Exception as error:
            raise self._explained(error) from error
        return [*modules, native]

    def _start(self) -> Any:
        """Return a new context: the initializers run, and the globals have their first values."""
        if self.device.uri != "local-sync":
            # A worker thread may be letting go of a tensor of the last call, for which it needs the
            # interpreter's lock. The binding holds that lock while it waits for the initializers, which
            # may need the same worker: neither would ever go on.
            time.sleep(_RETIREMENT)
        is_large = len(self._artifact.memory) >= huge_pages.LARGE or self._parameters
        memory = huge_pages.for_new_memory() if is_large else nullcontext()
        try:
            with memory:
                return iree.VmContext(devices.instance(), self._modules)
        except Exception as error:
            raise self._explained(error) from error

    def _explained(self, error: Exception) -> LoadError:
        version = installed("iree-base-runtime") or "?"
        return failures.from_load(error, self.origin, self._artifact.manifest, version)

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
        self.__dict__.update(
            (name, self._functions[name]) for name in _STATE_METHODS if name in self._functions
        )

    @property
    def functions(self) -> tuple[str, ...]:
        """The names of the functions, in order."""
        return tuple(self._functions)

    def signature(self, name: str) -> FunctionSignature:
        """Return what the function called `name` takes and gives."""
        return self[name].signature

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call `main`, which `aot.export` makes of what an nn.Module or a function computes.

        Raises:
            TypeError: the module has no function of that name.
        """
        if "main" not in self._functions:
            raise TypeError(f"{self._no_function('main')}: call one of them, as module.name(...)")
        return self._functions["main"](*args, **kwargs)

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

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return a copy of the state: the mutable globals by name, all as of one moment.

        Numbers are tensors without dims. What was never stored into an uninitialized global is
        undefined.

        Raises:
            StateError: the vmfb does not say what its state is.
        """
        known = self._known_state()
        with self._alone():
            values = state.read(self._open_context(), known, self._where("state_dict"))
        return state.to_tensors(known, values)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True
    ) -> IncompatibleKeys:
        """Copy a state into the module: all of it, or on an error nothing.

        Args:
            state_dict: from the names of `state_dict()` to tensors, arrays or numbers.
            strict: require the names to be the same; otherwise what both have is loaded.

        Returns:
            The `missing_keys` and `unexpected_keys`, as PyTorch does.

        Raises:
            StateError: keys are missing or unexpected, or values have another dtype or shape.
        """
        known, where = self._known_state(), self._where("load_state_dict")
        values, differ = state.check_state(known, state_dict, strict=strict, where=where)
        with self._alone():
            state.write(self._open_context(), known, values, where)
        return differ

    def reset(self) -> None:
        """Give the state its initial values: the module's initializers run again.

        Generators of random numbers start again too.
        """
        self._open_context()
        if self.lock is None:
            return
        fresh = self._start()
        with self.lock:
            self._open_context()
            self.context = fresh

    def fork(self) -> LoadedModule:
        """Return a module with a copy of the state; later calls of one do not change the other.

        Their calls run at the same time. They share the vmfb and external parameters; weights that
        the module packs when it starts are packed again. Random numbers start again in the copy.

        Raises:
            StateError: the vmfb does not say what its state is.
        """
        self._known_state()
        self._open_context()
        copy = LoadedModule(self._artifact, self.device, self._parameters)
        LoadedModule.load_state_dict(copy, LoadedModule.state_dict(self))
        return copy

    def save_state(self, path: str | os.PathLike[str]) -> None:
        """Write the state to a safetensors file, whole or not at all.

        Args:
            path: where to; an older file there is replaced.

        Raises:
            StateError: the vmfb does not say what its state is, or the format lacks a dtype of it.
            SaveError: the file cannot be written; what was there before is untouched.
        """
        state_files.write_state(path, LoadedModule.state_dict(self), self.name)

    def load_state(self, path: str | os.PathLike[str], strict: bool = True) -> IncompatibleKeys:
        """Copy the state of a file into the module; the result is that of `load_state_dict`.

        Args:
            path: what `save_state` wrote, or another safetensors file with the same keys.
            strict: as in `load_state_dict`.

        Raises:
            ParameterError: the file cannot be read.
            StateError: it does not hold the state of this module.
        """
        return LoadedModule.load_state_dict(self, state_files.read_state(path), strict)

    def _known_state(self) -> state.State:
        if self._state is None:
            raise StateError(
                "the vmfb does not say what its state is",
                where=self.origin,
                got="a manifest without state" if self._artifact.manifest else "no manifest",
                expected="a vmfb that shark_turbine compiled, with its mutable globals named",
                fix="compile it again: aot.export(...).compile()",
            )
        return self._state

    def _alone(self) -> AbstractContextManager[Any]:
        return nullcontext() if self.lock is None else self.lock

    def _open_context(self) -> Any:
        if self.context is None or self.device.lost:
            self.refuse()
        return self.context

    def _where(self, method: str) -> str:
        return f"{self.name}.{method}"

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


devices.waits_for(LoadedModule.reset)
devices.waits_for(LoadedModule.fork)
