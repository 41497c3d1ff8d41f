# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How long an operation takes on one thread, roughly, and what the other threads would save of it."""

from __future__ import annotations

import math
from typing import Any

from .rewrites import CONVOLUTIONS, Tensor, tensor

# What one thread does in a microsecond, measured on two x86 servers: operations of matrix products,
# elements that are read and written, and elements of functions such as `exp`.
FLOPS, ELEMENTS, FUNCTIONS = 100e3, 20e3, 600.0
# Bytes of weights in a microsecond: from memory, and where they stay in the cache of a core.
_FAR, _NEAR = 10e3, 100e3
_STAYS = 2**20
# Microseconds that an operation takes longer on several threads, which are woken and waited for: one row
# times 256 x 256 takes 5 on one and 8 on two, times 256 x 1024 15 and 20, times 768 x 768 71 and 47.
WAKING = 12.0

_FUNCTIONS = frozenset(
    f"torch.aten.{name}"
    for name in ("erf", "exp", "gelu", "log", "sigmoid", "silu", "softmax.int", "_softmax", "tanh")
)
# Where the left operand stands, whose last dim is summed over.
_PRODUCTS = {
    f"torch.aten.{name}": place
    for name, place in {
        "mm": 0,
        "bmm": 0,
        "matmul": 0,
        "linear": 0,
        "addmm": 1,
        "baddbmm": 1,
    }.items()
}
# The program's frame. What else computes tensors is not read here, nor how often a loop runs.
_FRAME = frozenset({"builtin", "func", "hal", "torch", "torch_c", "util"})
_LOOPS = frozenset({"torch.prim.Loop", "torch.prim.If"})


def saved_by_threads(operation: Any, name: str) -> float | None:
    """Return the microseconds that a second thread saves of an operation; less than 0 where it costs.

    None says that this is not known. An operation that is no product is part of another one in the
    end: it is counted only where it saves.
    """
    if name in _LOOPS or (name.partition(".")[0] not in _FRAME and _computes(operation)):
        return None
    if not name.startswith("torch.aten."):
        return 0.0
    results = [found for value in operation.results if (found := tensor(value)) is not None]
    if name in _PRODUCTS or name in CONVOLUTIONS:
        return _of_product(operation, name, results) / 2 - WAKING
    elements = sum(map(_elements, results))
    return max(elements / (FUNCTIONS if name in _FUNCTIONS else ELEMENTS) / 2 - WAKING, 0.0)


def _of_product(operation: Any, name: str, results: list[Tensor]) -> float:
    place = _PRODUCTS.get(name, 0)
    left, right = map(tensor, list(operation.operands)[place : place + 2])
    if left is None or right is None:
        return math.inf
    if name in CONVOLUTIONS:
        depth = _elements(right) / max(right.sizes[0] or 1, 1)
    else:
        depth = left.sizes[-1] or 1
    flops = 2.0 * sum(map(_elements, results)) * depth
    size = 4 * _elements(right)
    return max(flops / FLOPS, size / (_NEAR if size <= _STAYS else _FAR))


def _computes(operation: Any) -> bool:
    return any("tensor<" in str(value.type) for value in operation.results)


def _elements(found: Tensor) -> int:
    return math.prod(1 if size is None else size for size in found.sizes)
