# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a procedure promises about sizes, and the checks that hold it to that when it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from shark_turbine.errors import SourceLocation

from ..dims import Dim, DimConstraint, DimPlan, DimRange, DimVar
from ..steps import Check, DimOf, ScalarValue


class Contracts:
    """The dims of one procedure: where each is measured, and which checks follow.

    What is said of arguments alone is checked on entry; what is said of values made inside is
    checked where it is said.
    """

    def __init__(self, procedure: str) -> None:
        self.plan = DimPlan()
        self._procedure = procedure
        self._named: dict[str, DimVar] = {}
        self._sources: dict[int, DimOf | ScalarValue] = {}
        self._labels: dict[int, str] = {}
        self._arguments: list[tuple[DimVar, DimOf, str]] = []
        self._argument_count = 0
        self._depth = 0

    @contextmanager
    def block(self) -> Iterator[None]:
        """Keep what is constrained inside a block that may not run: a fact, and a check, of it alone."""
        known = self.plan.facts()
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            self.plan.restore(known)

    def argument_dim(self, name: str, axis: int, declared: str | None) -> DimVar:
        """Make (or find, by its declared name) the dim of an argument."""
        if declared is None:
            return self.plan.new(f"{name}.dynamic_dim({axis})")
        if declared not in self._named:
            self._named[declared] = self.plan.new(f"{name}.dynamic_dim({axis})")
        return self._named[declared]

    def named_dim(self, dim: DimVar) -> str | None:
        """Return the name that the user gave to a dim."""
        for name, named in self._named.items():
            if self.plan.root(named) == self.plan.root(dim):
                return name
        return None

    def locate(self, value: int, name: str, shape: tuple[Dim, ...]) -> None:
        """Note that a value's dims can be measured."""
        for axis, dim in enumerate(shape):
            if not isinstance(dim, DimVar):
                continue
            source = DimOf(value, axis)
            self._sources.setdefault(dim.id, source)
            self._labels.setdefault(dim.id, f"{name}.shape[{axis}]")
            if not self._argument_count:
                self._arguments.append((dim, source, f"{name}.shape[{axis}]"))

    def locate_size(self, dim: DimVar, value: int, name: str) -> None:
        """Note that a dim is the number that a scalar of type index holds."""
        self._sources[dim.id] = ScalarValue(value)
        self._labels[dim.id] = name

    def seal_arguments(self, count: int) -> None:
        """All arguments are known: values from `count` on are made inside."""
        self._argument_count = max(count, 1)

    def source_of(self, dim: DimVar) -> DimOf | ScalarValue:
        """Return a place where the dim can be measured."""
        return self._sources.get(dim.id) or self._sources[self.plan.root(dim).id]

    def add(self, constraint: DimConstraint, location: SourceLocation | None) -> Iterator[Check]:
        """Take a constraint as a fact; yield the checks that belong at this point.

        Raises:
            DimensionError: it contradicts what is known.
        """
        self.plan.add(constraint, location)
        dims = [constraint.left]
        if isinstance(constraint.right, DimVar):
            dims.append(constraint.right)
        if all(self._is_argument(dim) for dim in dims) or constraint.relation == "dynamic":
            return
        left = constraint.left
        if isinstance(constraint.right, DimVar):
            yield self._equal(left, constraint.right)
            return
        own = DimPlan()
        probe = own.new("")
        own.add(DimConstraint(probe, constraint.relation, constraint.right))
        yield from self._in_range(self.source_of(left), self._labels[left.id], own.range_of(probe))

    def check_index(self, value: int, function: str, bounds: DimRange) -> Iterator[Check]:
        """Check that a size passed to a torch function is one that it works for."""
        message = f"{self._procedure}: the size passed to {function} must be"
        source = ScalarValue(value)
        yield Check(source, ">=", bounds.minimum, f"{message} >= {bounds.minimum}")
        if bounds.maximum is not None:
            yield Check(source, "<=", bounds.maximum, f"{message} <= {bounds.maximum}")

    def entry_checks(self) -> list[Check]:
        """Return the checks of the arguments: equalities, then ranges."""
        checks: list[Check] = []
        first: dict[DimVar, tuple[DimOf, str]] = {}
        for dim, source, label in self._arguments:
            root = self.plan.root(dim)
            if root not in first:
                first[root] = (source, label)
                continue
            reference, reference_label = first[root]
            message = f"{self._procedure}: {reference_label} must equal {label}"
            name = self.named_dim(dim)
            if name is not None:
                message += f" (both are '{name}')"
            checks.append(Check(reference, "==", source, message))
        for root, (source, label) in first.items():
            checks.extend(self._in_range(source, label, self.plan.range_of(root)))
        return checks

    def _is_argument(self, dim: DimVar) -> bool:
        source = self.source_of(dim)
        is_argument = isinstance(source, DimOf) and source.value < self._argument_count
        return is_argument and not self._depth

    def _equal(self, left: DimVar, right: DimVar) -> Check:
        message = f"{self._procedure}: {self._labels[left.id]} must equal {self._labels[right.id]}"
        return Check(self._sources[left.id], "==", self._sources[right.id], message)

    def _in_range(
        self, source: DimOf | ScalarValue, label: str, bounds: DimRange
    ) -> Iterator[Check]:
        if bounds.fixed is not None:
            message = f"{self._procedure}: {label} must be {bounds.fixed}"
            yield Check(source, "==", bounds.fixed, message)
            return
        message = f"{self._procedure}: {label} must be {bounds}"
        if bounds.minimum > 0:
            yield Check(source, ">=", bounds.minimum, message)
        if bounds.maximum is not None:
            yield Check(source, "<=", bounds.maximum, message)
