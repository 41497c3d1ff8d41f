# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""From a program to its two kinds of callers: our loader, and stock IREE as its documentation uses it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import iree.runtime as ireert
import pytest

import shark_turbine.aot as aot
import shark_turbine.runtime as rt


class Built:
    """An exported program, compiled once, loaded on demand."""

    def __init__(self, output: aot.ExportOutput) -> None:
        self.output = output
        self.mlir = str(output.mlir_module)
        self.program = str(aot.CompiledModule.get_program(output.compiled_module))

    @cached_property
    def vmfb(self) -> Any:
        return self.output.compile()

    @cached_property
    def loaded(self) -> Any:
        """The module through our loader: torch tensors in and out."""
        return rt.load(self.vmfb, device="local-sync")

    @cached_property
    def stock(self) -> Any:
        """The module through stock IREE: arrays in, device arrays out."""
        config = ireert.Config("local-sync")
        module = ireert.VmModule.wrap_buffer(config.vm_instance, self.vmfb.map_memory())
        return ireert.load_vm_module(module, config)


@pytest.fixture(scope="session")
def build() -> Callable[..., Built]:
    """Return a function that exports what it is given; compiling waits until a result is asked for."""
    return lambda *args, **kwargs: Built(aot.export(*args, **kwargs))
