# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Scalars as sizes, and sizes as scalars: a dim that was given as a number is that number."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from shark_turbine.errors import DimensionError

from ..dims import Dim, DimVar
from ..steps import Check, ScalarValue, SizeExpression
from ..types import AbstractIndex
from .values import ScalarProxy

if TYPE_CHECKING:
    from .procedure import ProcedureRecorder


class ScalarDims:
    """What ties the numbers of a procedure to the dims of its tensors."""

    def __init__(self, recorder: ProcedureRecorder) -> None:
        self._recorder = recorder
        self._dims: dict[int, DimVar] = {}
        self._indices: dict[int, ScalarProxy] = {}

    @contextmanager
    def block(self) -> Iterator[None]:
        """Forget at the end what was learnt inside: values of a block are not seen after it."""
        dims, indices = dict(self._dims), dict(self._indices)
        try:
            yield
        finally:
            self._dims, self._indices = dims, indices

    def scalar_of(self, dim: DimVar) -> ScalarProxy:
        """Return a dim as a scalar of type index: what it was made of, or measured."""
        source = self._recorder.contracts.source_of(dim)
        if isinstance(source, ScalarValue):
            return ScalarProxy(self._recorder, source.value, AbstractIndex, dim.name)
        scalar = self._recorder.measure(source, dim.name)
        self._dims[scalar.value] = dim
        return scalar

    def dim_of(self, given: Any, operation: str) -> tuple[Dim, SizeExpression]:
        """Return the dim that a number makes, and how it is measured; below 0 is refused.

        Raises:
            DimensionError: it is neither an int >= 0 nor an integer scalar.
        """
        if isinstance(given, int) and not isinstance(given, bool) and given >= 0:
            return given, given
        if not isinstance(given, ScalarProxy) or not given.type.is_integer:
            raise self.refusal(given, operation, "a size", "a size")
        index = self.index_of(given, operation)
        if index.value not in self._dims:
            message = f"{self._recorder.spec.name}: the size given to {operation} must be >= 0"
            self._recorder.steps.append(Check(ScalarValue(index.value), ">=", 0, message))
            dim = self._recorder.contracts.plan.new(given._name)
            self._recorder.contracts.locate_size(dim, index.value, given._name)
            self._dims[index.value] = dim
        return self._dims[index.value], ScalarValue(index.value)

    def index_of(self, given: ScalarProxy, operation: str) -> ScalarProxy:
        """Return an integer scalar as one of type index, converted once."""
        self._recorder.owned([given])
        if not given.type.is_integer:
            raise self.refusal(given, operation, "an index", "a whole number")
        if given.type == AbstractIndex:
            return given
        if given.value not in self._indices:
            cast = self._recorder.append_operation("cast", (given,), AbstractIndex)
            self._indices[given.value] = cast
        return self._indices[given.value]

    def refusal(self, given: Any, operation: str, what: str, kind: str) -> DimensionError:
        """Return the error for something that is no size or index."""
        shown = given if isinstance(given, ScalarProxy) else repr(given)
        is_number = isinstance(given, (int, float, ScalarProxy))
        return DimensionError(
            f"{operation} was given something that is not {what}",
            where=self._recorder.where,
            location=self._recorder.user_location(),
            got=str(shown),
            expected=f"{kind}: an int >= 0, or a scalar of type index, i64 or i32",
            fix="use a whole number, 0 at least"
            if is_number
            else "x.item() reads the one element of an integer tensor as a scalar",
        )
