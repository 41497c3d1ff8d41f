# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Matrix products with tiles of our choice, in MLIR's `linalg`.

IREE takes how an operation is cut from an attribute, `compilation_info`, where there is one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .linalg import builtin, empty, filled, from_builtin, iterators, kind, maps, multiply_add
from .writer import Tensor, Writer

# Rows that a worker takes at once: as many as the second cache has room for beside a few panels. Where
# the number of rows is not known, what is left after the last whole piece must not be much.
_MOST_ROWS, _USUAL_ROWS = 256, 64
_PANELS = 2
# So many pieces give several workers about the same work. Smaller ones are not worth waking another, and
# each reads its part of the weights again.
_PIECES, _LEAST_PRODUCTS, _LEAST_ROWS = 8, 2**19, 64
# Bytes of weights that a worker takes at once for a single row: less is read before another is awake.
_LEAST_BYTES = 2**17


@dataclass(frozen=True, slots=True)
class Tile:
    """What the innermost loop keeps in registers: sums for so many rows and columns of the result."""

    rows: int
    columns: int


def panels_of(features: int, tile: Tile) -> int:
    """Return how many panels hold so many features.

    Two at least: the compiler takes dims of size 1 out of an operation, and its tiles with them.
    """
    return max(2, -(-features // tile.columns))


def rows_times_panels(
    writer: Writer, rows: Tensor, weight: Tensor, features_first: bool, tile: Tile
) -> Tensor:
    """Write `[*batch, rows, depth]` times matrices packed in panels, `[*batch, panels, depth, columns]`.

    The packing is an operation of its own: the compiler takes a permutation into the product again.
    Of a constant it is done when compiling.

    Args:
        writer: where.
        rows: only their number may be unknown.
        weight: `[*batch, features, depth]`, or `[*batch, depth, features]`.
        features_first: which of them.
        tile: what is kept in registers.

    Returns:
        `[*batch, rows, panels, columns]`, zero in columns behind the features.
    """
    *batch, count, depth = rows.sizes
    assert depth
    packed, panels = _panels(writer, weight, features_first, tile)
    outer = "abc"[: len(batch)]
    pieces = math.prod(size or 1 for size in batch) * -(-panels // _PANELS)
    return _product(
        writer,
        (builtin(writer, rows), f"{outer}mk"),
        (packed, f"{outer}nkj"),
        Tensor(None, (*batch, count, panels, tile.columns), rows.dtype),
        f"{outer}mnj",
        {
            "m": _rows_of_worker(count, pieces, _PANELS * tile.columns * depth, tile),
            "n": _PANELS,
            "j": 0,
        },
        tile,
    )


def row_times_panels(
    writer: Writer, row: Tensor, weight: Tensor, features_first: bool, tile: Tile
) -> Tensor:
    """Write `[depth]` times a matrix packed in panels: `[panels, columns]`, as `rows_times_panels` does.

    Without a dim for the row: the compiler takes dims of size 1 out of an operation, and its tiles with them.
    """
    packed, panels = _panels(writer, weight, features_first, tile)
    depth = row.sizes[0]
    assert depth
    return _product(
        writer,
        (builtin(writer, row), "k"),
        (packed, "nkj"),
        Tensor(None, (panels, tile.columns), row.dtype),
        "nj",
        {"n": max(1, _LEAST_BYTES // (4 * tile.columns * depth)), "j": 0},
        tile,
    )


def rows_times_heads(writer: Writer, rows: Tensor, heads: Tensor, tile: Tile) -> Tensor:
    """Write `[*batch, heads, rows, depth]` times `[*batch, depth, heads, width]`, which is read as it lies.

    Any size may be unknown but the last one of `heads`, a multiple of the tile's columns.

    Returns:
        `[*batch, heads, rows, width]`.
    """
    outer = "abc"[: len(rows.sizes) - 3]
    pieces = math.prod(size or 1 for size in rows.sizes[:-2])
    products = (rows.sizes[-1] or 1) * (heads.sizes[-1] or 1)
    return _product(
        writer,
        (builtin(writer, rows), f"{outer}hmk"),
        (builtin(writer, heads), f"{outer}khj"),
        Tensor(None, (*rows.sizes[:-1], heads.sizes[-1]), rows.dtype),
        f"{outer}hmj",
        {"m": _rows_of_worker(rows.sizes[-2], pieces, products, tile), "j": 0},
        tile,
    )


def _product(
    writer: Writer,
    left: tuple[Any, str],
    right: tuple[Any, str],
    result: Tensor,
    loops: str,
    of_worker: Mapping[str, int],
    tile: Tile,
) -> Tensor:
    """Write a sum of products over the loop `k`.

    Args:
        writer: where.
        left: a value, and for each of its dims the letter of the loop that runs over it.
        right: the same.
        result: sizes and dtype; unknown sizes are those of the left operand's dims.
        loops: those of the result: `m` over rows where there are several, `j` over columns.
        of_worker: how many turns of a loop a worker takes at once, where it is not one; 0 is all.
        tile: what is kept in registers.
    """
    unknown = [
        (left[0], left[1].index(loop))
        for size, loop in zip(result.sizes, loops, strict=True)
        if size is None
    ]
    rows = result.sizes[loops.index("m")] if "m" in loops else 1
    of_registers = {"m": min(rows or tile.rows, tile.rows), "j": tile.columns}
    product = writer.write(
        "linalg.generic",
        kind(result.sizes, result.dtype),
        [left[0], right[0], filled(writer, result, unknown)],
        body=multiply_add,
        operandSegmentSizes="array<i32: 2, 1>",
        indexing_maps=maps([*loops, "k"], left[1], right[1], loops),
        iterator_types=iterators(len(loops), 1),
        compilation_info=_compilation_info(loops, of_worker, of_registers),
    )
    return from_builtin(writer, product, result.sizes, result.dtype)


def _rows_of_worker(rows: int | None, others: int, products: int, tile: Tile) -> int:
    """Return how many rows a worker takes at once.

    Args:
        rows: all of them.
        others: into how many pieces the other loops are cut.
        products: multiplications for each row in one of those.
        tile: what is kept in registers, of which a piece of the rows is a multiple.
    """
    if rows is None:
        return _USUAL_ROWS
    wanted = min(-(-_PIECES // others), rows * products // _LEAST_PRODUCTS, rows // _LEAST_ROWS)
    pieces = max(-(-rows // _MOST_ROWS), wanted)
    return min(rows, -(-rows // (pieces * tile.rows)) * tile.rows)


def _compilation_info(
    loops: str, of_worker: Mapping[str, int], of_registers: Mapping[str, int]
) -> str:
    """Return how the loops over the result and the depth are cut: by workers, then by registers.

    What does not fill a tile is peeled off into a loop of its own.
    """
    levels = {
        "distribution": [*(of_worker.get(loop, 1) for loop in loops), 0],
        "vector_common_parallel": [*(of_registers.get(loop, 1) for loop in loops), 0],
        "vector_reduction": [*[0] * len(loops), 1],
    }
    config = ", ".join(f"{level} = {sizes}" for level, sizes in levels.items())
    return (
        "#iree_codegen.compilation_info<"
        f"lowering_config = #iree_cpu.lowering_config<{config}>, "
        "translation_info = #iree_codegen.translation_info<"
        "pipeline = #iree_cpu.pipeline<DoubleTilingExpert>, {enable_loop_peeling}>>"
    )


def _panels(writer: Writer, weight: Tensor, features_first: bool, tile: Tile) -> tuple[Any, int]:
    """Write matrices in panels, `[*batch, panels, depth, columns]`; return how many panels as well."""
    *batch, features, depth = weight.sizes
    if not features_first:
        features, depth = depth, features
    assert features is not None
    panels = panels_of(features, tile)
    dim = len(batch) if features_first else len(batch) + 1
    padded = writer.pad(weight, dim, panels * tile.columns - features)
    return pack(writer, padded, features_first, (*batch, panels, depth, tile.columns)), panels


def pack(
    writer: Writer, matrix: Tensor, features_first: bool, sizes: tuple[int | None, ...]
) -> Any:
    """Write matrices `[*batch, panels, depth, columns]`, by an operation that no product takes in."""
    shape = kind(sizes, matrix.dtype)
    last = len(matrix.sizes) - 1
    order = [*range(last - 1), *((last - 1, last) if features_first else (last, last - 1))]
    return writer.write(
        "linalg.pack",
        shape,
        [builtin(writer, matrix), empty(writer, Tensor(None, sizes, matrix.dtype))],
        inner_dims_pos=f"array<i64: {order[-2]}>",
        static_inner_tiles=f"array<i64: {sizes[-1]}>",
        outer_dims_perm=f"array<i64: {', '.join(map(str, order))}>",
        operandSegmentSizes="array<i32: 1, 1, 0, 0>",
    )
