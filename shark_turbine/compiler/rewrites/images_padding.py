# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Padding of an image, written together with the image.

The compiler fills the whole padded image first, and writes the image into it afterwards: twice as much
memory, and an operation that every worker waits for. Here the operations that compute the image element by
element go over the padded one. Outside they read what is nearest, and a mask puts the padding there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from .elementwise import ELEMENTWISE
from .linalg import builtin, elements, number
from .writer import Tensor, Writer, constant, is_computed_once, tensor

OPERATORS = frozenset({"torch.aten.constant_pad_nd"})

# More operations do not end up in one.
_MOST_BETWEEN = 16
_FLOATS = {"f64", "f32", "f16", "bf16"}
# Of fewer elements side by side the compiler makes no vectors.
_LEAST_INNER = 8
_BELOW = "6 : i64"  # `arith.cmpi ult`: negative numbers are large ones.


@dataclass(frozen=True, slots=True)
class _Padding:
    """An image and how many elements are put in front of it and behind, for each dim."""

    image: Tensor
    before: tuple[int, ...]
    behind: tuple[int, ...]
    value: float

    @property
    def dims(self) -> list[int]:
        return [
            dim
            for dim, edges in enumerate(zip(self.before, self.behind, strict=True))
            if any(edges)
        ]

    @property
    def sizes(self) -> tuple[int | None, ...]:
        return tuple(
            None if size is None else before + size + behind
            for before, size, behind in zip(self.before, self.image.sizes, self.behind, strict=True)
        )


def pad_at_once(operation: Any, writer: Writer) -> Any:
    """Write a padding, and what computes the image in front of it, as one operation."""
    try:
        padding = _read(operation)
    except LookupError:  # Edges are not constants.
        return None
    if padding is None or is_computed_once(padding.image.value):
        return None
    made: dict[Any, Any] = {}
    for each in reversed(_chain(operation, padding)):
        operands = [_moved(value, made, padding, writer) for value in each.operands]
        made[each.results[0]] = writer.again(each, operands, padding.sizes)
    result = _moved(padding.image.value, made, padding, writer)
    return _masked(replace(padding.image, value=result, sizes=padding.sizes), padding, writer).value


def _read(operation: Any) -> _Padding | None:
    image = tensor(operation.operands[0])
    edges, value = map(constant, list(operation.operands)[1:])
    if image is None or image.dtype not in _FLOATS or min(edges) < 0:
        return None
    missing = [0] * (len(image.sizes) - len(edges) // 2)
    # From the last dim to the first, in front and behind.
    before, behind = ((*missing, *edges[start::2][::-1]) for start in (0, 1))
    padding = _Padding(image, before, behind, float(value))
    inner = image.sizes[-1] or 0
    is_inside = not before[-1] and not behind[-1] and inner >= _LEAST_INNER
    is_known = all(image.sizes[dim] for dim in padding.dims)
    return padding if padding.dims and is_inside and is_known else None


def _chain(operation: Any, padding: _Padding) -> list[Any]:
    """Return what computes the image and nothing else uses, each in front of what it takes."""
    found = [operation]
    more = True
    while more and len(found) <= _MOST_BETWEEN:
        makers = [
            value.owner for each in found for value in each.operands if _is_image(value, padding)
        ]
        fitting = [
            each
            for each in dict.fromkeys(makers)
            if each not in found
            and getattr(each, "name", None) in ELEMENTWISE
            and all(use.owner in found for use in each.results[0].uses)
            and all(_fits(value, padding) for value in each.operands)
        ]
        found += fitting
        more = bool(fitting)
    return found[1:]


def _is_image(value: Any, padding: _Padding) -> bool:
    given = tensor(value)
    return given is not None and given.sizes == padding.image.sizes


def _fits(value: Any, padding: _Padding) -> bool:
    """Say whether an operand can be read where the padding is: as it is, or at its nearest element."""
    given = tensor(value)
    if given is None:
        return "tensor" not in str(value.type)
    if given.sizes == padding.image.sizes:
        return given.dtype in {*_FLOATS, "i1"}
    missing = len(padding.before) - len(given.sizes)
    return all(dim < missing or given.sizes[dim - missing] == 1 for dim in padding.dims)


def _moved(value: Any, made: dict[Any, Any], padding: _Padding, writer: Writer) -> Any:
    """Return an operand as the operations over the padded image read it."""
    if value not in made:
        given = tensor(value)
        is_image = given is not None and given.sizes == padding.image.sizes
        made[value] = _nearest(given, padding, writer).value if given and is_image else value
    return made[value]


def _nearest(image: Tensor, padding: _Padding, writer: Writer) -> Tensor:
    """Write an image with what is nearest around it."""
    given = builtin(writer, image)

    def element(inside: Writer, _nothing: Any) -> Any:
        places = _places(inside, len(image.sizes))
        for dim in padding.dims:
            place = _less(inside, places[dim], padding.before[dim])
            last = _index(inside, (image.sizes[dim] or 0) - 1)
            place = inside.write("arith.maxsi", "index", [place, _index(inside, 0)])
            places[dim] = inside.write("arith.minsi", "index", [place, last])
        return inside.write("tensor.extract", image.dtype, [given, *places])

    return elements(writer, [], replace(image, sizes=padding.sizes), given, element)


def _masked(image: Tensor, padding: _Padding, writer: Writer) -> Tensor:
    """Write the padding over what was made of the nearest elements."""
    given = builtin(writer, image)

    def element(inside: Writer, made: Any, _nothing: Any) -> Any:
        places = _places(inside, len(image.sizes))
        inner = None
        for dim in padding.dims:
            place = _less(inside, places[dim], padding.before[dim])
            size = _index(inside, padding.image.sizes[dim] or 0)
            is_inner = inside.write("arith.cmpi", "i1", [place, size], predicate=_BELOW)
            both = [inner, is_inner]
            inner = is_inner if inner is None else inside.write("arith.andi", "i1", both)
        value = number(inside, padding.value, image.dtype)
        return inside.write("arith.select", image.dtype, [inner, made, value])

    return elements(writer, [given], image, given, element)


def _places(inside: Writer, rank: int) -> list[Any]:
    """Write where the element of the result is."""
    return [inside.write("linalg.index", "index", [], dim=f"{dim} : i64") for dim in range(rank)]


def _less(inside: Writer, place: Any, before: int) -> Any:
    """Write where the image has what the padded one has at a place: outside of it, in the padding."""
    return inside.write("arith.subi", "index", [place, _index(inside, before)])


def _index(inside: Writer, value: int) -> Any:
    return inside.write("arith.constant", "index", [], value=f"{value} : index")
