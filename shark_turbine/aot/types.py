# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a value looks like: the abstract values that users write, and the types that tracing records."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .. import dtypes
from ..errors import DeclarationError, DimensionError
from .dims import Dim, DynamicDim, shape_text


class AbstractTensor:
    """A tensor that is declared, not held: its shape and dtype.

    Args:
        *size: one entry per dim, or one sequence of them as in `torch.empty`. An int is a fixed
            size, None a dynamic one, and a str names a dynamic one: equal names in one procedure
            are equal sizes, checked when the compiled function is called.
        dtype: the element type.

    Raises:
        DeclarationError: an entry is none of these, or negative.
        UnsupportedTypeError: no compiled module can hold the dtype.
    """

    __slots__ = ("dtype", "size")

    def __init__(
        self,
        *size: int | str | None | Sequence[int | str | None],
        dtype: torch.dtype = torch.float32,
    ) -> None:
        dims: tuple[object, ...] = size
        if len(size) == 1 and isinstance(size[0], (tuple, list)):
            dims = tuple(size[0])
        dtypes.from_torch(dtype, what="AbstractTensor")
        self.size: tuple[int | str | None, ...] = tuple(_checked_size(dim) for dim in dims)
        self.dtype: torch.dtype = dtype

    def dynamic_dim(self, index: int) -> DynamicDim:
        """Refuse: dims are constrained inside a procedure, on its arguments.

        There this is the declared type of what has `dynamic_dim`, hence the annotation.

        Args:
            index: which dim.

        Raises:
            DimensionError: always, outside a procedure.
        """
        raise DimensionError(
            "dynamic_dim() belongs to the arguments of a procedure, not to their declaration",
            got=f"{self!r}.dynamic_dim({index})",
            expected="dynamic_dim() on an argument, inside an exported method",
            fix="call it on the argument inside the method, or name the dim: AbstractTensor('n')",
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AbstractTensor):
            return NotImplemented
        return self.size == other.size and self.dtype == other.dtype

    def __hash__(self) -> int:
        return hash((self.size, self.dtype))

    def __repr__(self) -> str:
        dims = "".join(f"{dim!r}, " for dim in self.size)
        return f"AbstractTensor({dims}dtype={self.dtype})"


def _checked_size(dim: object) -> int | str | None:
    is_size = isinstance(dim, int) and not isinstance(dim, bool) and dim >= 0
    if dim is None or is_size or (isinstance(dim, str) and dim.isidentifier()):
        return dim  # type: ignore[return-value]
    raise DeclarationError(
        "a dim of an AbstractTensor is not a size",
        got=repr(dim),
        expected="an int >= 0, None for a dynamic dim, or an identifier that names one",
        fix=f"aot.AbstractTensor({_size_to_write(dim)}, ...)",
    )


def _size_to_write(dim: object) -> str:
    """Return what the user may have meant by a wrong size."""
    if isinstance(dim, str):
        return repr(re.sub(r"\W+", "_", dim).strip("_") or "n")
    if isinstance(dim, float) and dim.is_integer():
        return str(int(dim))
    return "None"


@dataclass(frozen=True, slots=True)
class AbstractScalar:
    """A number that travels by value: `name` is `index`, `i32`, `i64`, `f32`, `f64` or `bool`."""

    name: str

    @property
    def is_integer(self) -> bool:
        return self.name in ("index", "i32", "i64")

    @property
    def is_float(self) -> bool:
        return self.name in ("f32", "f64")

    def __repr__(self) -> str:
        return f"Abstract{self.name.capitalize()}"

    def __str__(self) -> str:
        return self.name


AbstractIndex = AbstractScalar("index")
AbstractI32 = AbstractScalar("i32")
AbstractI64 = AbstractScalar("i64")
AbstractF32 = AbstractScalar("f32")
AbstractF64 = AbstractScalar("f64")
AbstractBool = AbstractScalar("bool")

AbstractValue = AbstractTensor | AbstractScalar


@dataclass(frozen=True, slots=True)
class TensorType:
    """The type of a traced tensor: every dim is a number or a variable of its procedure."""

    dtype: torch.dtype
    shape: tuple[Dim, ...]

    def __str__(self) -> str:
        return f"{dtypes.from_torch(self.dtype)}{shape_text(self.shape)}"


ValueType = TensorType | AbstractScalar


def scalar_type_of(value: bool | int | float) -> AbstractScalar:
    """Return the abstract scalar that holds a Python number: bool, i64 or f64."""
    if isinstance(value, bool):
        return AbstractBool
    return AbstractI64 if isinstance(value, int) else AbstractF64
