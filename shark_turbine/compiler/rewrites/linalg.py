# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Pieces of operations in MLIR's dialect `linalg`, which has tensors of its own."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from .writer import Body, Tensor, Writer

# A value and one of its dims: where a size that is not known is read.
Place = tuple[Any, int]


def builtin(writer: Writer, given: Tensor) -> Any:
    """Write a tensor of the dialect `torch` as one that `linalg` takes."""
    return writer.write("torch_c.to_builtin_tensor", kind(given.sizes, given.dtype), [given.value])


def from_builtin(writer: Writer, value: Any, sizes: Sequence[int | None], dtype: str) -> Tensor:
    """Write what `linalg` has made as a tensor of the dialect `torch`."""
    return writer.torch_tensor("torch_c.from_builtin_tensor", [value], sizes, dtype)


def barrier(writer: Writer, value: Any, sizes: Sequence[int | None]) -> Any:
    """Write what the compiler does not join operations across; it costs nothing in a call."""
    found = [size(writer, value, dim) for dim, known in enumerate(sizes) if known is None]
    behind = writer.write("util.optimization_barrier", str(value.type), [value])
    if not found:
        return behind
    # The compiler does not look through it for sizes that it does not know.
    return writer.write("flow.tensor.tie_shape", str(value.type), [behind, *found])


def size(writer: Writer, value: Any, dim: int) -> Any:
    """Write the size of a dim."""
    index = writer.write("arith.constant", "index", [], value=f"{dim} : index")
    return writer.write("tensor.dim", "index", [value, index])


def number(writer: Writer, value: float, dtype: str) -> Any:
    """Write a number of a float dtype; by its bits, for infinities have no other form."""
    bits = struct.pack(">d", value).hex()
    wide = writer.write("arith.constant", "f64", [], value=f"0x{bits} : f64")
    return wide if dtype == "f64" else writer.write("arith.truncf", dtype, [wide])


def kind(sizes: Sequence[int | None], dtype: str) -> str:
    """Return the type of a tensor that `linalg` takes."""
    return f"tensor<{'x'.join('?' if size is None else str(size) for size in sizes)}x{dtype}>"


def empty(writer: Writer, result: Tensor, unknown: Sequence[Place] = ()) -> Any:
    """Write a tensor that holds nothing yet; `unknown` says where the sizes are that are not known."""
    sizes = [size(writer, value, dim) for value, dim in unknown]
    return writer.write("tensor.empty", kind(result.sizes, result.dtype), sizes)


def filled(writer: Writer, result: Tensor, unknown: Sequence[Place] = ()) -> Any:
    """Write a tensor of zeros, to which products are added."""
    zero = writer.write("arith.constant", result.dtype, [], value=f"0.0 : {result.dtype}")
    return writer.write(
        "linalg.fill",
        kind(result.sizes, result.dtype),
        [zero, empty(writer, result, unknown)],
        body=_first,
        operandSegmentSizes="array<i32: 1, 1>",
    )


def copied(
    writer: Writer, given: Any, read: Sequence[str], loops: Sequence[str], result: Tensor
) -> Any:
    """Write elements of a tensor in other places.

    Args:
        writer: where.
        given: what is read; its first dim is that of the result, where that is not known.
        read: for each dim of it the index, a sum of loops times numbers.
        loops: over the result, one for each dim.
        result: sizes and dtype.
    """
    return writer.write(
        "linalg.generic",
        kind(result.sizes, result.dtype),
        [given, empty(writer, result, [(given, 0)] * result.sizes.count(None))],
        body=_first,
        operandSegmentSizes="array<i32: 1, 1>",
        indexing_maps=maps(loops, read, loops),
        iterator_types=iterators(len(loops)),
    )


def maximum(writer: Writer, left: Tensor, right: Tensor) -> Tensor:
    """Write the larger of each two elements, and NaN where either is: `torch.aten.maximum` loses the second."""
    given = [builtin(writer, left), builtin(writer, right)]
    return elements(writer, given, left, given[0], _larger)


def elements(
    writer: Writer, given: Sequence[Any], result: Tensor, measured: Any, body: Body
) -> Tensor:
    """Write a tensor each of whose elements is made of those at its place.

    Args:
        writer: where.
        given: what is read, of the sizes of the result.
        result: sizes and dtype.
        measured: a tensor whose sizes are those of the result where these are not known.
        body: what is made of the elements.
    """
    loops = [f"x{dim}" for dim in range(len(result.sizes))]
    unknown = [(measured, dim) for dim, size in enumerate(result.sizes) if size is None]
    value = writer.write(
        "linalg.generic",
        kind(result.sizes, result.dtype),
        [*given, empty(writer, result, unknown)],
        body=body,
        operandSegmentSizes=f"array<i32: {len(given)}, 1>",
        indexing_maps=maps(loops, *[loops] * (len(given) + 1)),
        iterator_types=iterators(len(loops)),
    )
    return from_builtin(writer, value, result.sizes, result.dtype)


def maps(loops: Sequence[str], *accesses: Sequence[str]) -> str:
    """Return which elements of its operands an operation meets in each turn of its loops."""
    found = [f"affine_map<({', '.join(loops)}) -> ({', '.join(each)})>" for each in accesses]
    return f"[{', '.join(found)}]"


def iterators(parallel: int, reductions: int = 0) -> str:
    """Return the kinds of so many loops."""
    kinds = [*["parallel"] * parallel, *["reduction"] * reductions]
    return f"[{', '.join(f'#linalg.iterator_type<{each}>' for each in kinds)}]"


def multiply_add(inside: Writer, left: Any, right: Any, total: Any) -> Any:
    """Write the product of two elements, added to a third."""
    element = str(total.type)
    return inside.write(
        "arith.addf", element, [total, inside.write("arith.mulf", element, [left, right])]
    )


def _larger(inside: Writer, left: Any, right: Any, _other: Any) -> Any:
    return inside.write("arith.maximumf", str(left.type), [left, right])


def _first(_inside: Writer, element: Any, _other: Any) -> Any:
    return element
