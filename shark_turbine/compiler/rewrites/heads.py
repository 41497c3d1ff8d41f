# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Attention's weights times its values, which are read where the projection left them, on CPUs.

The values of a head lie in rows, one for each token, with those of the other heads between them. The compiler
copies them so that each head is in one piece, and both operands once more into its tiles; weights of
1500 tokens times 1500 are copied for longer than they are multiplied.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .tiled import Tile, rows_times_heads
from .writer import Tensor, Writer, constant, tensor

OPERATORS = frozenset({"torch.aten.matmul"})


def heads_in_place(tile: Tile) -> Callable[[Any, Writer], Any]:
    """Return the rule that writes `[batch, heads, rows, depth] @ [batch, depth, heads, width].transpose(1, 2)`."""

    def rule(operation: Any, writer: Writer) -> Any:
        found = _read(operation)
        if found is None:
            return None
        rows, heads, result = found
        if (heads.sizes[-1] or 1) % tile.columns:
            return None
        if result.sizes[0] == 1:
            # The compiler takes dims of size 1 out of a product, and its tiles with them.
            rows, heads = (writer.view(each, each.sizes[1:]) for each in (rows, heads))
        return writer.view(rows_times_heads(writer, rows, heads, tile), result.sizes).value

    return rule


def suits_heads(operation: Any) -> bool:
    """Say whether `heads_in_place` matches one of `OPERATORS`, but for the width of its tile."""
    return _read(operation) is not None


def _read(operation: Any) -> tuple[Tensor, Tensor, Tensor] | None:
    """Return rows, the heads as they lie, and the result of what gains; None of all others."""
    rows, result = tensor(operation.operands[0]), tensor(operation.results[0])
    heads = _in_memory(operation.operands[1])
    if rows is None or heads is None or result is None or {rows.dtype, heads.dtype} != {"f32"}:
        return None
    if not len(rows.sizes) == len(heads.sizes) == 4 or heads.sizes[-1] is None:
        return None
    batch, count, *_ = rows.sizes
    # Unknown batches may be broadcast, one row of weights is read faster than it is multiplied.
    if batch is None or batch != heads.sizes[0] or count != heads.sizes[2] or count in (None, 1):
        return None
    return None if {0, 1} & {*rows.sizes[2:], *heads.sizes[1:]} else (rows, heads, result)


def _in_memory(value: Any) -> Tensor | None:
    """Return the tensor whose dims 1 and 2 are swapped in a value, or in what it is a copy of."""
    owner = value.owner
    if getattr(owner, "name", None) == "torch.aten.clone":
        owner = owner.operands[0].owner
    if getattr(owner, "name", None) != "torch.aten.transpose.int":
        return None
    try:
        dims = {constant(dim) % 4 for dim in list(owner.operands)[1:]}
    except LookupError:
        return None
    return tensor(owner.operands[0]) if dims == {1, 2} else None
