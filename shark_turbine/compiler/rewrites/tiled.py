# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Matrix products with tiles of our choice, in MLIR's `linalg`.

IREE takes how an operation is cut from an attribute, `compilation_info`, where there is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .writer import Tensor, Writer

# Rows that a worker takes at once: as many as the second cache has room for beside a few panels. Where
# the number of rows is not known, what is left after the last whole piece must not be much.
_MOST_ROWS, _USUAL_ROWS = 256, 64
_PANELS = 2


@dataclass(frozen=True, slots=True)
class Tile:
    """What the innermost loop keeps in registers: sums for so many rows and columns of the result."""

    rows: int
    columns: int


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
        tile: what is kept in registers; the features are a multiple of its columns.

    Returns:
        `[*batch, rows, features / columns, columns]`.
    """
    *batch, count, depth = rows.sizes
    features = weight.sizes[-2 if features_first else -1]
    assert features is not None
    panels = features // tile.columns
    sizes = (*batch, count, panels, tile.columns)
    packed = _pack(writer, weight, features_first, (*batch, panels, depth, tile.columns))
    row_values = _builtin(writer, rows)
    result = _kind(sizes, rows.dtype)
    zero = writer.write("arith.constant", rows.dtype, [], value=f"0.0 : {rows.dtype}")
    unknown = []
    if count is None:
        place = writer.write("arith.constant", "index", [], value=f"{len(batch)} : index")
        unknown = [writer.write("tensor.dim", "index", [row_values, place])]
    empty = writer.write("tensor.empty", result, unknown)
    zeros = writer.write(
        "linalg.fill", result, [zero, empty],
        body=lambda _, element, __: element, operandSegmentSizes="array<i32: 1, 1>",
    )  # fmt: skip
    outer = [f"b{dim}" for dim in range(len(batch))]
    product = writer.write(
        "linalg.generic",
        result,
        [row_values, packed, zeros],
        body=_multiply_add,
        operandSegmentSizes="array<i32: 2, 1>",
        indexing_maps=_maps([*outer, *"mnjk"], [*outer, *"mk"], [*outer, *"nkj"], [*outer, *"mnj"]),
        iterator_types=_iterators(parallel=len(sizes)),
        compilation_info=_compilation_info(len(batch), count, tile),
    )
    return writer.torch_tensor("torch_c.from_builtin_tensor", [product], sizes, rows.dtype)


def _compilation_info(batch: int, rows: int | None, tile: Tile) -> str:
    """Return how the loops over rows, panels, columns and depth are cut: by workers, then by registers.

    What does not fill a tile is peeled off into a loop of its own. Of the `batch` dims in front, each
    takes one at a time.
    """
    of_worker = _USUAL_ROWS if rows is None else min(rows, _MOST_ROWS)
    of_registers = tile.rows if rows is None else min(rows, tile.rows)
    levels = {
        "distribution": [*[1] * batch, of_worker, _PANELS, 0, 0],
        "vector_common_parallel": [*[1] * batch, of_registers, 1, tile.columns, 0],
        "vector_reduction": [*[0] * batch, 0, 0, 0, 1],
    }
    config = ", ".join(f"{level} = {sizes}" for level, sizes in levels.items())
    return (
        "#iree_codegen.compilation_info<"
        f"lowering_config = #iree_cpu.lowering_config<{config}>, "
        "translation_info = #iree_codegen.translation_info<"
        "pipeline = #iree_cpu.pipeline<DoubleTilingExpert>, {enable_loop_peeling}>>"
    )


def _pack(
    writer: Writer, matrix: Tensor, features_first: bool, sizes: tuple[int | None, ...]
) -> Any:
    kind = _kind(sizes, matrix.dtype)
    last = len(matrix.sizes) - 1
    order = [*range(last - 1), *((last - 1, last) if features_first else (last, last - 1))]
    return writer.write(
        "linalg.pack",
        kind,
        [_builtin(writer, matrix), writer.write("tensor.empty", kind, [])],
        inner_dims_pos=f"array<i64: {order[-2]}>",
        static_inner_tiles=f"array<i64: {sizes[-1]}>",
        outer_dims_perm=f"array<i64: {', '.join(map(str, order))}>",
        operandSegmentSizes="array<i32: 1, 1, 0, 0>",
    )


def _multiply_add(inside: Writer, left: Any, right: Any, total: Any) -> Any:
    kind = str(total.type)
    return inside.write(
        "arith.addf", kind, [total, inside.write("arith.mulf", kind, [left, right])]
    )


def _builtin(writer: Writer, given: Tensor) -> Any:
    kind = _kind(given.sizes, given.dtype)
    return writer.write("torch_c.to_builtin_tensor", kind, [given.value])


def _kind(sizes: Sequence[int | None], dtype: str) -> str:
    return f"tensor<{'x'.join('?' if size is None else str(size) for size in sizes)}x{dtype}>"


def _maps(loops: Sequence[str], *accesses: Sequence[str]) -> str:
    maps = [f"affine_map<({', '.join(loops)}) -> ({', '.join(each)})>" for each in accesses]
    return f"[{', '.join(maps)}]"


def _iterators(parallel: int) -> str:
    kinds = [*["parallel"] * parallel, "reduction"]
    return f"[{', '.join(f'#linalg.iterator_type<{kind}>' for kind in kinds)}]"
