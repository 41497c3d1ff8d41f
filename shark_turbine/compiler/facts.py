# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What about a module decides how it is compiled, found in one walk that prints no weights."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from .probing import operator_name, walk
from .rewrites import (
    gains_by_heads,
    gains_by_panels,
    gains_by_winograd,
    is_external,
    is_rewritable,
    suits_channels_last,
)
from .work import WAKING, saved_by_threads

# The torch pipeline computes these in f64 inside: as f32, long reductions come out wrong, and random
# numbers reach 1. Measured by a walk over PyTorch's operator samples.
_COMPUTED_IN_F64 = re.compile(
    r"^torch\.(?:aten|prims)\."
    r"(?:var|std|(?:native_)?group_norm|instance_norm|rand|uniform|normal|bernoulli|exponential"
    r"|(?:native_)?dropout|rrelu)"
)
# Elements from which on a constant in the module counts as a weight: smaller ones are masks and tables.
_LARGE = 2**14
_PRODUCTS = re.compile(r"^(?:torch\.aten\.(?:mm|bmm|addmm|baddbmm|matmul|linear)$|linalg\..*mat)")
_BITS = re.compile(r"(?:bf|f|[su]?i)(\d+)(?!x)")
_CONVOLUTIONS = re.compile(r"^(?:torch\.aten\.\w*conv|linalg\.(?:depthwise_)?conv)")


@dataclass(frozen=True, slots=True)
class ModuleFacts:
    """What about a module decides how it is compiled.

    `stored_weights` are elements of large immutable tensors in the module; `external_weights` of all
    that are attached when it is loaded. `constant_bytes` are those of all immutable tensors in the
    module. Convolutions are others where no rewrite can read them, and square where `winograd` suits them;
    a module suits `channels-last` where that matches all of them. Panels and heads are what `panels-…` and
    `heads-…` suit.
    `saved_by_threads` are the microseconds that a second thread saves of a call, roughly; None of what is not
    known, as with dynamic sizes.
    """

    name: str | None = None
    needs_f64: bool = False
    has_products: bool = False
    has_panels: bool = False
    has_heads: bool = False
    has_convolutions: bool = False
    has_other_convolutions: bool = False
    has_square_convolutions: bool = False
    suits_channels_last: bool = False
    has_dynamic_sizes: bool = False
    stored_weights: int = 0
    external_weights: int = 0
    constant_bytes: int = 0
    saved_by_threads: float | None = None


def facts(module: Any) -> ModuleFacts:
    """Look through a module once."""
    named = "sym_name" in module.operation.attributes
    needs_f64 = has_products = is_dynamic = False
    convolutions = []
    has_panels = has_heads = False
    stored = external = constant_bytes = 0
    # Even a program without any product wakes the threads once.
    saved: float | None = -WAKING
    for operation in walk(module.operation):
        name = operator_name(operation)
        needs_f64 = needs_f64 or _needs_f64(operation, name)
        is_dynamic = is_dynamic or any("?" in str(value.type) for value in operation.results)
        if saved is not None:
            more = None if is_dynamic else saved_by_threads(operation, name)
            saved = None if more is None else saved + more
        has_products = has_products or bool(_PRODUCTS.match(name))
        has_panels = has_panels or gains_by_panels(operation)
        has_heads = has_heads or gains_by_heads(operation)
        if _CONVOLUTIONS.match(name):
            convolutions.append(operation)
        kind = _immutable(operation, name)
        if kind is None:
            continue
        count = _elements(kind)
        if is_external(operation):
            external += count
        else:
            constant_bytes += count * _width(kind)
            stored += count if count >= _LARGE else 0
    return ModuleFacts(
        name=module.operation.attributes["sym_name"].value if named else None,
        needs_f64=needs_f64,
        has_products=has_products,
        has_panels=has_panels,
        has_heads=has_heads,
        has_convolutions=bool(convolutions),
        has_other_convolutions=not all(map(is_rewritable, convolutions)),
        has_square_convolutions=any(map(gains_by_winograd, convolutions)),
        suits_channels_last=bool(convolutions) and all(map(suits_channels_last, convolutions)),
        has_dynamic_sizes=is_dynamic,
        stored_weights=stored,
        external_weights=external,
        constant_bytes=constant_bytes,
        saved_by_threads=saved,
    )


def _immutable(operation: Any, name: str) -> Any:
    """Return the type of the tensor that an operation declares for good; None of other operations."""
    if name == "torch.vtensor.literal":
        return operation.results[0].type
    if name == "util.global" and "is_mutable" not in operation.attributes:
        return operation.attributes["type"]
    return None


def _elements(kind: Any) -> int:
    """Return the elements of a type, `tensor<2x3xf32>` or `!torch.vtensor<[2,3],f32>`; 1 of a number."""
    return math.prod(map(int, re.findall(r"\d+(?=[x,\]])", str(kind))))


def _width(kind: Any) -> int:
    """Return the bytes of an element of a type; booleans have one."""
    bits = [int(found) for found in _BITS.findall(str(kind))] or [8]
    return max(bits[-1], 8) // 8 * (2 if "complex" in str(kind) else 1)


def _needs_f64(operation: Any, name: str) -> bool:
    if _COMPUTED_IN_F64.match(name):
        return True
    if any("f64" in str(value.type) for value in operation.results):
        return True
    # Arguments of functions, and types of globals, stand in attributes.
    return any(
        "f64" in str(operation.attributes[key])
        for key in ("function_type", "type")
        if key in operation.attributes
    )
