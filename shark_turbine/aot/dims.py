# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Dynamic dimensions: variables, the constraints that users write on them, and what follows.

Plain union-find over integers; knows neither torch nor MLIR.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NoReturn

from ..errors import DimensionError, SourceLocation

Relation = Literal["==", "<", "<=", ">", ">=", "dynamic"]

_MIRRORED: dict[Relation, Relation] = {"==": "==", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


@dataclass(frozen=True, slots=True)
class DimVar:
    """One dynamic dimension; `name` is how its user would write it (`a.dynamic_dim(0)`, `n`)."""

    id: int
    name: str = field(compare=False)

    def __str__(self) -> str:
        return f"d{self.id}"


Dim = int | DimVar


@dataclass(frozen=True, slots=True)
class DimConstraint:
    """`left relation right`, as the user wrote it; `dynamic` alone only names a dim."""

    left: DimVar
    relation: Relation
    right: Dim

    def __str__(self) -> str:
        right = self.right.name if isinstance(self.right, DimVar) else str(self.right)
        if self.relation == "dynamic":
            return self.left.name
        return f"{self.left.name} {self.relation} {right}"

    def __bool__(self) -> NoReturn:
        raise DimensionError(
            "a dim constraint has no truth value: it is recorded, not evaluated "
            "(a chained comparison asks for one)",
            got=str(self),
            expected="one comparison per constraint",
            fix=f"constraints=[{self}, ...], one entry for each comparison",
        )


class DynamicDim:
    """What `value.dynamic_dim(i)` gives: comparing it makes a constraint.

    Accepts `==`, `<`, `<=`, `>`, `>=` with an int or another dynamic dim.
    """

    __slots__ = ("variable",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, variable: DimVar) -> None:
        self.variable = variable

    def __eq__(self, other: object) -> DimConstraint:  # type: ignore[override]
        return self._constrain("==", other)

    def __ne__(self, other: object) -> NoReturn:  # type: ignore[override]
        self._refuse("!=", other)

    def __lt__(self, other: object) -> DimConstraint:
        return self._constrain("<", other)

    def __le__(self, other: object) -> DimConstraint:
        return self._constrain("<=", other)

    def __gt__(self, other: object) -> DimConstraint:
        return self._constrain(">", other)

    def __ge__(self, other: object) -> DimConstraint:
        return self._constrain(">=", other)

    def _constrain(self, relation: Relation, other: object) -> DimConstraint:
        if isinstance(other, DynamicDim):
            return DimConstraint(self.variable, relation, other.variable)
        if isinstance(other, int) and not isinstance(other, bool):
            return DimConstraint(self.variable, relation, other)
        self._refuse(relation, other)

    def _refuse(self, relation: str, other: object) -> NoReturn:
        raise DimensionError(
            "a dynamic dim cannot be constrained so",
            got=f"{self.variable.name} {relation} {other!r}",
            expected="==, <, <=, > or >= with an int or another dynamic_dim(...)",
            fix=f"constraints=[{self.variable.name} <= 4096]",
        )

    def __bool__(self) -> NoReturn:
        raise DimensionError(
            "a dynamic dim has no truth value: its size is known only at run time",
            got=self.variable.name,
            expected="a comparison in constraints=[...], or torch.where in an aot.jittable",
            fix=f"constraints=[{self.variable.name} >= 1]",
        )

    def __repr__(self) -> str:
        return self.variable.name


@dataclass(frozen=True, slots=True)
class DimRange:
    """Sizes from `minimum` to `maximum`, both included; a maximum of None is unbounded."""

    minimum: int = 0
    maximum: int | None = None

    def __and__(self, other: DimRange) -> DimRange:
        maxima = [m for m in (self.maximum, other.maximum) if m is not None]
        return DimRange(max(self.minimum, other.minimum), min(maxima, default=None))

    @property
    def is_empty(self) -> bool:
        return self.maximum is not None and self.maximum < self.minimum

    @property
    def fixed(self) -> int | None:
        """The one size there is, if there is only one."""
        return self.minimum if self.minimum == self.maximum else None

    def __contains__(self, size: int) -> bool:
        return self.minimum <= size and (self.maximum is None or size <= self.maximum)

    def __str__(self) -> str:
        if self.maximum is None:
            return f">= {self.minimum}"
        if self.minimum == 0:
            return f"<= {self.maximum}"
        return f"{self.minimum} to {self.maximum}"


@dataclass(frozen=True, slots=True)
class DimFacts:
    """What a plan knew at some point."""

    parents: tuple[int, ...]
    ranges: dict[int, DimRange]
    reasons: dict[int, list[str]]


class DimPlan:
    """What is known about the dims of one procedure: groups of equal dims, a range for each group.

    `add` takes what the user constrains; a contradiction raises `DimensionError` in the user's
    words, naming every constraint that took part.
    """

    def __init__(self) -> None:
        self._variables: list[DimVar] = []
        self._parents: list[int] = []
        self._ranges: dict[int, DimRange] = {}
        self._reasons: dict[int, list[str]] = {}

    @property
    def count(self) -> int:
        """How many dims were made."""
        return len(self._variables)

    def facts(self) -> DimFacts:
        """Return what is known by now, for `restore`."""
        return DimFacts(tuple(self._parents), dict(self._ranges), dict(self._reasons))

    def restore(self, known: DimFacts) -> None:
        """Forget what was added since `facts` was called; dims made since then stay, unconstrained."""
        count = len(known.parents)
        self._parents = [*known.parents, *range(count, len(self._variables))]
        newer = range(count, len(self._variables))
        self._ranges = {**known.ranges, **{index: DimRange() for index in newer}}
        self._reasons = {**known.reasons, **{index: [] for index in newer}}

    def new(self, name: str) -> DimVar:
        """Make a dim that nothing is known about."""
        variable = DimVar(len(self._variables), name)
        self._variables.append(variable)
        self._parents.append(variable.id)
        self._ranges[variable.id] = DimRange()
        self._reasons[variable.id] = []
        return variable

    def root(self, variable: DimVar) -> DimVar:
        """Return the dim that stands for all that equal `variable`: the earliest."""
        index = variable.id
        while self._parents[index] != index:
            index = self._parents[index]
        return self._variables[index]

    def range_of(self, variable: DimVar) -> DimRange:
        return self._ranges[self.root(variable).id]

    def resolve(self, dim: Dim) -> Dim:
        """Return the int that a dim must be, or the dim that stands for its group."""
        if isinstance(dim, int):
            return dim
        fixed = self.range_of(dim).fixed
        return self.root(dim) if fixed is None else fixed

    def are_equal(self, left: Dim, right: Dim) -> bool:
        return self.resolve(left) == self.resolve(right)

    def add(self, constraint: DimConstraint, location: SourceLocation | None = None) -> None:
        """Take a constraint as a fact.

        Raises:
            DimensionError: it contradicts what was constrained before, or orders two dims.
        """
        text = str(constraint)
        match constraint:
            case DimConstraint(_, "dynamic", _):
                return
            case DimConstraint(left, "==", DimVar() as right):
                self._unite(left, right, text, location)
            case DimConstraint(left, relation, int() as bound):
                self._narrow(left, _range_from(relation, bound), text, location)
            case DimConstraint(left, relation, right):
                raise DimensionError(
                    "two dynamic dims can be constrained to be equal, not to be ordered",
                    location=location,
                    got=text,
                    expected="== between two dims, or <, <=, >, >= with an int",
                    fix=f"bound each by a number: {left.name} <= 4096",
                )

    def _unite(
        self, left: DimVar, right: DimVar, text: str, location: SourceLocation | None
    ) -> None:
        first, second = sorted((self.root(left).id, self.root(right).id))
        if first == second:
            return
        merged = self._ranges[first] & self._ranges[second]
        reasons = [*self._reasons[first], *self._reasons[second], text]
        if merged.is_empty:
            _contradict(reasons, location)
        self._parents[second] = first
        self._ranges[first] = merged
        self._reasons[first] = reasons

    def _narrow(
        self, variable: DimVar, bounds: DimRange, text: str, location: SourceLocation | None
    ) -> None:
        root = self.root(variable).id
        merged = self._ranges[root] & bounds
        reasons = [*self._reasons[root], text]
        if merged.is_empty:
            _contradict(reasons, location)
        self._ranges[root] = merged
        self._reasons[root] = reasons


def _range_from(relation: Relation, bound: int) -> DimRange:
    match relation:
        case "==":
            return DimRange(bound, bound)
        case "<":
            return DimRange(0, bound - 1)
        case "<=":
            return DimRange(0, bound)
        case ">":
            return DimRange(bound + 1)
        case _:
            return DimRange(max(bound, 0))


def _contradict(reasons: list[str], location: SourceLocation | None) -> NoReturn:
    raise DimensionError(
        "no size satisfies these constraints together",
        location=location,
        got=" and ".join(dict.fromkeys(reasons)),
        expected="constraints that at least one size satisfies",
        fix=f"remove or widen one of them, such as {reasons[-1]}",
    )


def shape_text(shape: tuple[Dim, ...], name: Callable[[DimVar], str] = str) -> str:
    """Show a shape as `[d0, 4]`."""
    return f"[{', '.join(name(d) if isinstance(d, DimVar) else str(d) for d in shape)}]"
