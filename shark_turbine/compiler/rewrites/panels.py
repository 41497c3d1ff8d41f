# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Products of rows with a stored weight, in panels as wide as a few vector registers, on CPUs.

The compiler keeps 16 x 16 sums in registers with AVX-512: seventeen reads for sixteen multiplications, so
its loop waits for its reads wherever the operands are not in the first cache. With half the rows and
twice the columns it takes ten. BLIS calls these pieces panels: F. Van Zee, R. van de Geijn, "BLIS: A
Framework for Rapidly Instantiating BLAS Functionality", ACM TOMS 41(3), 2015.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .tiled import Tile, panels_of, row_times_panels, rows_times_panels
from .writer import Tensor, Writer, constant, is_computed_once, is_none, tensor

_LINEAR, _ADDMM, _BMM = "torch.aten.linear", "torch.aten.addmm", "torch.aten.bmm"
_TRANSPOSES = frozenset({"torch.aten.t", "torch.aten.numpy_T"})
_SPLITS = frozenset(
    f"torch.aten.{name}" for name in ("view", "reshape", "unflatten.int", "_unsafe_view")
)

# Of the columns that are multiplied, in panels of the wide tile.
_MOST_EMPTY = 1 / 16

# A wide tile, and a narrow one.
Pair = tuple[Tile, Tile]

OPERATORS = frozenset({_LINEAR, _ADDMM, _BMM, "torch.aten.mm", "torch.aten.matmul"})


@dataclass(frozen=True, slots=True)
class Product:
    """Rows `[..., depth]`, a weight `[features, depth]` or `[depth, features]`, and what is added.

    Both may have a batch in front.
    """

    rows: Tensor
    weight: Tensor
    features_first: bool
    bias: Tensor | None
    result: Tensor

    @property
    def is_row(self) -> bool:
        """Whether it is a single row."""
        # Each matrix of a batch has rows of its own; those of others are all one matrix.
        return len(self.weight.sizes) == 2 and set(self.rows.sizes[:-1]) <= {1}

    @property
    def features(self) -> int:
        return self.weight.sizes[-2 if self.features_first else -1] or 0


def in_panels(several: Pair, single: Pair) -> Callable[[Any, Writer], Any]:
    """Return the rule that writes products with weights in panels of a tile's width.

    Args:
        several: the tile for products of several rows, and a narrower one for weights of which that would
            leave much of the last panel empty.
        single: the same for products of one row.
    """

    def rule(operation: Any, writer: Writer) -> Any:
        found = read(operation)
        if found is None:
            return None
        wide, narrow = single if found.is_row else several
        tile = _suited(found.features, wide, narrow)
        if tile is None:
            return None
        if tile == wide:
            tile = _unlike_heads(wide, operation.results[0])
        product = _multiply(found, tile, writer)
        empty = _padded(found.features, tile) - found.features
        if found.bias is not None:
            bias = writer.pad(found.bias, 0, empty)
            product = writer.add(product, writer.view(bias, product.sizes[-2:]))
        if empty:
            flat = writer.view(product, [*product.sizes[:-2], found.features + empty])
            product = writer.part(flat, len(flat.sizes) - 1, 0, found.features)
        return as_result(found, product, writer).value

    return rule


def as_result(found: Product, product: Tensor, writer: Writer) -> Tensor:
    """Write what was computed for each row in the shape of the result."""
    leading = [
        writer.size(found.rows, dim) if size is None else size
        for dim, size in enumerate(found.rows.sizes[:-1])
    ]
    wanted = [*leading, found.features]
    return writer.call("view", product, wanted, sizes=found.result.sizes, like=product)


def _multiply(found: Product, tile: Tile, writer: Writer) -> Tensor:
    """Return `[..., panels, columns]`, without the dims of a single row."""
    if found.is_row:
        row = writer.view(found.rows, found.rows.sizes[-1:])
        return row_times_panels(writer, row, found.weight, found.features_first, tile)
    is_flat = len(found.weight.sizes) == 3 or len(found.rows.sizes) == 2
    rows = found.rows if is_flat else writer.rows(found.rows)
    return rows_times_panels(writer, rows, found.weight, found.features_first, tile)


def _suited(features: int, wide: Tile, narrow: Tile) -> Tile | None:
    """Return the tile for so many features; None where most of either would be empty."""
    if _padded(features, wide) <= features * (1 + _MOST_EMPTY):
        return wide
    return narrow if _padded(features, narrow) <= 2 * features else None


def _padded(features: int, tile: Tile) -> int:
    return panels_of(features, tile) * tile.columns


def _unlike_heads(tile: Tile, result: Any) -> Tile:
    """Return a tile of another width where the result is split into heads of the width of this one.

    Both reshapes would cancel out, and the permutation of the heads become part of the product: the
    compiler forgets the tiles of an operation that it changes.
    """
    for use in result.uses:
        parts = tensor(use.owner.results[0]) if use.owner.name in _SPLITS else None
        if parts is not None and parts.sizes[-1] == tile.columns:
            if tile.rows == 1:
                return Tile(1, tile.columns // 2)
            # Of half the rows an even number: 3 x 32 takes half as long again as 2 x 32.
            return Tile(tile.rows // 4 * 2, tile.columns * 2)
    return tile


def suits_panels(operation: Any) -> bool:
    """Say whether `in_panels` matches one of `OPERATORS`, but for the width of its tile."""
    return read(operation) is not None


def read(operation: Any) -> Product | None:
    """Return rows times an immutable weight; None of all else, and of batches of a single row."""
    operands = list(operation.operands)
    bias = None
    if operation.name == _ADDMM:
        added, *operands, beta, alpha = operands
        bias = tensor(added)
        if bias is None or not (_is_one(beta) and _is_one(alpha)):
            return None
    elif operation.name == _LINEAR:
        bias = tensor(operands[2])
        if bias is None and not is_none(operands[2]):
            return None
    rows, result = tensor(operands[0]), tensor(operation.results[0])
    weight, is_turned = _batch(operands[1]) if operation.name == _BMM else _weight(operands[1])
    if rows is None or weight is None or result is None or {rows.dtype, weight.dtype} != {"f32"}:
        return None
    features_first = is_turned != (operation.name == _LINEAR)
    found = Product(rows, weight, features_first, bias, result)
    if not rows.sizes or len(result.sizes) != len(rows.sizes):
        return None
    if bias is not None and (bias.sizes != (found.features,) or bias.dtype != "f32"):
        return None
    # What is made of constants alone is made when compiling.
    if is_computed_once(rows.value):
        return None
    depth, leading = rows.sizes[-1], rows.sizes[:-1]
    if not depth or not found.features or 0 in leading:
        return None
    return None if operation.name == _BMM and leading[-1] == 1 else found


def _weight(value: Any) -> tuple[Tensor | None, bool]:
    """Return the matrix behind a value, made of immutable ones, and whether the value is its transpose."""
    owner = value.owner
    is_turned = getattr(owner, "name", None) in _TRANSPOSES or _swaps_dims(owner)
    found = tensor(owner.operands[0] if is_turned else value)
    if found is None or len(found.sizes) != 2 or None in found.sizes:
        return None, False
    return (found, is_turned) if is_computed_once(found.value) else (None, False)


def _batch(value: Any) -> tuple[Tensor | None, bool]:
    """Return a batch of matrices that are made of immutable ones, as the rewrite `winograd` does."""
    found = tensor(value)
    is_known = found is not None and None not in found.sizes and is_computed_once(value)
    return (found if is_known else None), False


def _swaps_dims(owner: Any) -> bool:
    """Say whether an operation swaps the dims of a matrix."""
    name = getattr(owner, "name", None)
    try:
        if name == "torch.aten.transpose.int":
            first, second = (constant(dim) % 2 for dim in list(owner.operands)[1:])
            return first != second
        return name == "torch.aten.permute" and constant(owner.operands[1]) in ([1, 0], [-1, -2])
    except LookupError:
        return False


def _is_one(value: Any) -> bool:
    try:
        return constant(value) == 1
    except LookupError:
        return False
