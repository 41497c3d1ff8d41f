# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Matrix products with tiles of our choice, in MLIR's `linalg`.

IREE takes how an operation is cut from an attribute, `compilation_info`, where there is one.
"""

from __future__ import annotations

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
    """Write `[rows, depth]` times a matrix that is packed in panels: `[features / columns, depth, columns]`.

    The packing is an operation of its own: the compiler takes a permutation into the product again.
    Of a constant it is done when compiling.

    Returns:
        `[rows, features / columns, columns]`.
    """
    count, depth = rows.sizes
    features = weight.sizes[0 if features_first else 1]
    assert features is not None
    sizes = (count, features // tile.columns, tile.columns)
    panels = _pack(writer, weight, features_first, (sizes[1], depth, tile.columns), tile.columns)
    row_values = _builtin(writer, rows)
    result = _kind(sizes, rows.dtype)
    zero = writer.write("arith.constant", rows.dtype, [], value=f"0.0 : {rows.dtype}")
    unknown = []
    if count is None:
        first = writer.write("arith.constant", "index", [], value="0 : index")
        unknown = [writer.write("tensor.dim", "index", [row_values, first])]
    empty = writer.write("tensor.empty", result, unknown)
    zeros = writer.write(
        "linalg.fill", result, [zero, empty],
        body=lambda _, element, __: element, operandSegmentSizes="array<i32: 1, 1>",
    )  # fmt: skip
    product = writer.write(
        "linalg.generic",
        result,
        [row_values, panels, zeros],
        body=_multiply_add,
        operandSegmentSizes="array<i32: 2, 1>",
        indexing_maps=_maps("(m, n, j, k)", "(m, k)", "(n, k, j)", "(m, n, j)"),
        iterator_types=_iterators(parallel=3),
        compilation_info=_compilation_info(count, tile),
    )
    return writer.torch_tensor("torch_c.from_builtin_tensor", [product], sizes, rows.dtype)


def _compilation_info(rows: int | None, tile: Tile) -> str:
    """Return how the loops over rows, panels, columns and depth are cut: by workers, then by registers.

    What does not fill a tile is peeled off into a loop of its own.
    """
    of_worker = _USUAL_ROWS if rows is None else min(rows, _MOST_ROWS)
    of_registers = tile.rows if rows is None else min(rows, tile.rows)
    config = (
        f"distribution = [{of_worker}, {_PANELS}, 0, 0], "
        f"vector_common_parallel = [{of_registers}, 1, {tile.columns}, 0], "
        "vector_reduction = [0, 0, 0, 1]"
    )
    return (
        "#iree_codegen.compilation_info<"
        f"lowering_config = #iree_cpu.lowering_config<{config}>, "
        "translation_info = #iree_codegen.translation_info<"
        "pipeline = #iree_cpu.pipeline<DoubleTilingExpert>, {enable_loop_peeling}>>"
    )


def _pack(
    writer: Writer, matrix: Tensor, features_first: bool, sizes: tuple[int | None, ...], width: int
) -> Any:
    kind = _kind(sizes, matrix.dtype)
    return writer.write(
        "linalg.pack",
        kind,
        [_builtin(writer, matrix), writer.write("tensor.empty", kind, [])],
        inner_dims_pos=f"array<i64: {0 if features_first else 1}>",
        static_inner_tiles=f"array<i64: {width}>",
        outer_dims_perm=f"array<i64: {'0, 1' if features_first else '1, 0'}>",
        operandSegmentSizes="array<i32: 1, 1, 0, 0>",
    )


def _multiply_add(inside: Writer, left: Any, right: Any, total: Any) -> Any:
    kind = str(total.type)
    return inside.write("arith.addf", kind, [total, inside.write("arith.mulf", kind, [left, right])])


def _builtin(writer: Writer, given: Tensor) -> Any:
    kind = _kind(given.sizes, given.dtype)
    return writer.write("torch_c.to_builtin_tensor", kind, [given.value])


def _kind(sizes: tuple[int | None, ...], dtype: str) -> str:
    return f"tensor<{'x'.join('?' if size is None else str(size) for size in sizes)}x{dtype}>"


def _maps(loops: str, *accesses: str) -> str:
    return f"[{', '.join(f'affine_map<{loops} -> {access}>' for access in accesses)}]"


def _iterators(parallel: int) -> str:
    kinds = [*["parallel"] * parallel, "reduction"]
    return f"[{', '.join(f'#linalg.iterator_type<{kind}>' for kind in kinds)}]"
