# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How much a kernel computes and moves, from its operations on tensors before code is generated.

Counted is one operation for each floating-point instruction on an element, and for each integer one
in a reduction; a multiplication and an addition for each step of a product; five for each element of
a softmax (maximum, subtraction, exponential, sum, division). Packing, copies, fills, comparisons and
conversions count nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from shark_turbine import ir
from shark_turbine.dispatches import Kernel

from .probing import walk

_FLOAT = re.compile(
    r"(?:arith\.(?:add|sub|mul|div|rem|neg|maximum|minimum|maxnum|minnum)f|math\.\w+)$"
)
_INTEGER = re.compile(r"arith\.(?:add|sub|mul)i$")
_PRODUCT = re.compile(r"arith\.mul[fi]$")
_NAMED_PRODUCT = re.compile(r"linalg\.(?:\w*mat(?:mul|vec)\w*|vecmat|dot|contract|mmt4d)$")
_CONVOLUTION = re.compile(
    r"linalg\.(?P<depthwise>depthwise_)?conv_\dd\w*?_(?P<filter>[a-z]+)(?:_q)?$"
)
_POOLING = re.compile(r"linalg\.pooling_")
_FREE = re.compile(
    r"(?:linalg\.(?:fill|copy|transpose|broadcast|yield|index|pack|unpack)"
    r"|iree_linalg_ext\.(?:yield|gather|scatter|map_scatter|map_gather|map_load|map_store|im2col|pack|unpack))$"
)
_SOFTMAX_FLOPS = 5
_LOADS, _STORES = "iree_tensor_ext.dispatch.tensor.load", "iree_tensor_ext.dispatch.tensor.store"
_WIDTH = re.compile(r"(?:bf|tf|f|i|si|ui)(\d+)")


class UnknownError(Exception):
    """A count depends on the arguments, or nobody knows how to count."""


@dataclass(frozen=True, slots=True)
class _Work:
    """What one operation computes; `dtype` is of what a product multiplies."""

    flops: int
    dtype: str | None = None


def count(name: str, function: Any) -> tuple[Kernel, Any]:
    """Return what a kernel's function computes and moves, and the operation that computes most."""
    operations = list(walk(function))
    works: list[tuple[_Work, Any]] = []
    flops: int | None = 0
    try:
        for operation in operations:
            works.append((_work(operation), operation))
        flops = sum(work.flops for work, _ in works)
    except UnknownError:
        flops = None
    products = [(work, operation) for work, operation in works if work.dtype is not None]
    heaviest = max(products or works, key=lambda item: item[0].flops, default=(None, None))
    work, operation = heaviest
    dtype = None if work is None else work.dtype
    return Kernel(name, flops, _bytes(operations), dtype), operation if products else None


# --------------------------------------------------------------------------------------- arithmetic --


def _work(operation: Any) -> _Work:
    name = operation.name
    if name == "linalg.generic" or name in {"linalg.reduce", "linalg.map"}:
        return _generic(operation)
    if _FREE.match(name) or not name.startswith(("linalg.", "iree_linalg_ext.")):
        return _Work(0)
    if name == "linalg.softmax":
        return _Work(_SOFTMAX_FLOPS * _size(_shape(operation.results[0])))
    if _NAMED_PRODUCT.match(name) and "indexing_maps" in operation.attributes:
        return _Work(2 * math.prod(_extents(operation).values()), _element(operation.operands[0]))
    match = _CONVOLUTION.match(name)
    if match is not None:
        return _convolution(operation, match)
    if _POOLING.match(name):
        window = _size(_shape(operation.operands[1]))
        return _Work(window * _size(_shape(operation.results[0])))
    if name == "iree_linalg_ext.attention":
        return _attention(operation)
    raise UnknownError(name)


def _generic(operation: Any) -> _Work:
    body = [inner.name for region in operation.regions for inner in _inside(region)]
    reduces = (
        "reduction" in str(operation.attributes["iterator_types"])
        if ("iterator_types" in operation.attributes)
        else operation.name == "linalg.reduce"
    )
    counted = [name for name in body if _FLOAT.match(name) or (reduces and _INTEGER.match(name))]
    if not counted:
        return _Work(0)
    if "indexing_maps" in operation.attributes:
        trips = math.prod(_extents(operation).values())
    else:
        trips = _size(_shape(operation.operands[0]))
    is_product = reduces and any(map(_PRODUCT.match, counted)) and len(operation.operands) > 2
    return _Work(trips * len(counted), _element(operation.operands[0]) if is_product else None)


def _inside(region: Any) -> Iterable[Any]:
    for block in region:
        for operation in block:
            yield from walk(operation.operation)


def _convolution(operation: Any, match: re.Match[str]) -> _Work:
    """Count 2 for each element of the result and each of the filter's that it takes."""
    window = _shape(operation.operands[1])
    taken = _size(window)
    letters = match["filter"]
    if len(letters) != len(window):
        raise UnknownError(operation.name)
    # Each result takes the filter of its own channel: of one output, and where it is depthwise of one input.
    for place, letter in enumerate(letters):
        if letter in ("cm" if match["depthwise"] else "f"):
            taken //= window[place]
    return _Work(2 * taken * _size(_shape(operation.results[0])), _element(operation.operands[0]))


def _attention(operation: Any) -> _Work:
    extents = _extents(operation)
    query, key, value, *_, output = _maps(operation)
    first = math.prod(extents[dim] for dim in {*query, *key} if dim is not None)
    second = math.prod(extents[dim] for dim in {*value, *output} if dim is not None)
    return _Work(2 * (first + second), _element(operation.operands[0]))


def _extents(operation: Any) -> dict[int, int]:
    """Return the sizes of an operation's loops, from the operands that they index."""
    found: dict[int, int] = {}
    operands = [value for value in operation.operands if _is_tensor(value)]
    everything = _maps(operation)
    # Numbers among the operands have maps too.
    if len(everything) != len(list(operation.operands)):
        raise UnknownError(operation.name)
    by_operand = [
        dims
        for dims, value in zip(everything, operation.operands, strict=True)
        if _is_tensor(value)
    ]
    for dims, value in zip(by_operand, operands, strict=True):
        for dim, size in zip(dims, _shape(value), strict=True):
            if dim is not None:
                found[dim] = size
    loops = operation.attributes["indexing_maps"][0].value.n_dims
    if len(found) != loops:
        raise UnknownError(operation.name)
    return found


def _maps(operation: Any) -> list[list[int | None]]:
    """Return for each operand the loop that each of its dims follows, None for more than one."""
    return [
        [
            expr.position if isinstance(expr, ir.AffineDimExpr) else None
            for expr in attribute.value.results
        ]
        for attribute in operation.attributes["indexing_maps"]
    ]


# -------------------------------------------------------------------------------------------- bytes --


def _bytes(operations: Sequence[Any]) -> int | None:
    """Return the bytes that a kernel reads and writes; of a tensor that it looks up in, what it takes."""
    total = 0
    try:
        for operation in operations:
            if operation.name == _LOADS:
                value = operation.results[0]
                total += min([_nbytes(value.type), *_looked_up(value)])
            elif operation.name == _STORES:
                total += _nbytes(operation.operands[0].type)
    except UnknownError:
        return None
    return total


def _looked_up(value: Any) -> list[int]:
    """Return the bytes that are taken out of a tensor by index, if that is all that is done with it."""
    users = [use.owner for use in value.uses]
    if not users or any(user.name != "tensor.extract" for user in users):
        return []
    return [sum(_trips(user.operation) for user in users) * _width(value.type.element_type)]


def _trips(operation: Any) -> int:
    parent = operation.parent
    while parent is not None and parent.name != "linalg.generic":
        parent = parent.parent
    if parent is None:
        raise UnknownError(operation.name)
    return math.prod(_extents(parent.operation).values())


def _nbytes(kind: Any) -> int:
    return _size(_dims(kind)) * _width(kind.element_type)


def _width(element: Any) -> int:
    text = str(element)
    match = _WIDTH.match(text.removeprefix("complex<"))
    if match is None:
        if text.startswith("f8"):
            return 1
        raise UnknownError(text)
    size = max(int(match[1]), 8) // 8
    return 2 * size if text.startswith("complex") else size


# -------------------------------------------------------------------------------------------- types --


def _is_tensor(value: Any) -> bool:
    return isinstance(value.type, ir.RankedTensorType)


def _shape(value: Any) -> list[int]:
    if not _is_tensor(value):
        raise UnknownError(str(value.type))
    return _dims(value.type)


def _dims(kind: Any) -> list[int]:
    if any(kind.is_dynamic_dim(place) for place in range(kind.rank)):
        raise UnknownError("a size that depends on the arguments")
    return list(kind.shape)


def _size(shape: Sequence[int]) -> int:
    return math.prod(shape)


def _element(value: Any) -> str:
    return str(value.type.element_type) if _is_tensor(value) else str(value.type)
