# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Stored weights with their features side by side, for GPUs.

A linear layer's weight has the depth of each feature in one piece. Threads that are beside each other compute
features that are, and would read from memory that is far apart: of their shared memory always the same bank.
"""

from __future__ import annotations

from typing import Any

from .linalg import from_builtin
from .panels import as_result, read
from .tiled import pack
from .writer import Tensor, Writer


def turn_weights(operation: Any, writer: Writer) -> Any:
    """Write several rows times a weight `[features, depth]` as rows times `[depth, features]`."""
    found = read(operation)
    if found is None or not found.features_first or found.is_row or len(found.weight.sizes) != 2:
        return None
    turned = _turned(writer, found.weight)
    rows = found.rows if len(found.rows.sizes) == 2 else writer.rows(found.rows)
    sizes = [rows.sizes[0], found.features]
    product = writer.call("mm", rows, turned, sizes=sizes, like=rows)
    if found.bias is not None:
        product = writer.add(product, found.bias)
    return as_result(found, product, writer).value


def _turned(writer: Writer, weight: Tensor) -> Tensor:
    """Write `[features, depth]` as `[depth, features]`, by an operation that the product does not take in.

    As one piece of all features, `[1, depth, features]`: the compiler takes a permutation into the product again.
    """
    features, depth = weight.sizes
    assert features
    assert depth
    sizes = (1, depth, features)
    packed = pack(writer, weight, True, sizes)
    return writer.view(from_builtin(writer, packed, sizes, weight.dtype), [depth, features])
