# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What an exported program needs of the sizes that a procedure calls it with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import sympy
import torch

from ..spec import ProgramSpec
from ..steps import Check, DimOf, ScalarValue
from .capture import Captured
from .graph_types import user_inputs
from .sizes import Measured, input_checks
from .values import Proxy, TensorProxy


def call_checks(spec: ProgramSpec, captured: Captured, proxies: Sequence[Proxy]) -> list[Check]:
    """Return the checks of a call: equal dims, ranges, and sizes that are computed of others."""
    program = captured.function.program
    sizes = list(_sizes(program, proxies))
    return input_checks(spec.name, sizes, program.range_constraints, spec.dim_names)


def _sizes(program: torch.export.ExportedProgram, proxies: Sequence[Proxy]) -> Iterator[Measured]:
    for proxy, value in zip(proxies, user_inputs(program), strict=True):
        if isinstance(value, torch.SymInt):
            yield Measured(value.node.expr, ScalarValue(proxy.value), proxy._name)
        if not isinstance(value, torch.Tensor) or not isinstance(proxy, TensorProxy):
            continue
        for axis, size in enumerate(value.shape):
            if isinstance(size, torch.SymInt) and not sympy.sympify(size.node.expr).is_Integer:
                label = f"{proxy._name}.shape[{axis}]"
                yield Measured(size.node.expr, DimOf(proxy.value, axis), label)
