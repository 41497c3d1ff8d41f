# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Dims: constraints as users write them, and the plan against brute force over all sizes."""

from __future__ import annotations

import operator
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shark_turbine.aot.dims import DimConstraint, DimPlan, DimRange, DimVar, DynamicDim
from shark_turbine.errors import DimensionError

A, B = DimVar(0, "a.dynamic_dim(0)"), DimVar(1, "b.dynamic_dim(1)")


def test_constraints_keep_the_users_text() -> None:
    a, b = DynamicDim(A), DynamicDim(B)
    written = [a == b, a == 3, a < 5, a <= 5, a > 5, a >= 5, a < 7, a <= 7, a > 2, a >= 2]
    assert [str(constraint) for constraint in written] == [
        "a.dynamic_dim(0) == b.dynamic_dim(1)",
        "a.dynamic_dim(0) == 3",
        "a.dynamic_dim(0) < 5",
        "a.dynamic_dim(0) <= 5",
        "a.dynamic_dim(0) > 5",
        "a.dynamic_dim(0) >= 5",
        "a.dynamic_dim(0) < 7",
        "a.dynamic_dim(0) <= 7",
        "a.dynamic_dim(0) > 2",
        "a.dynamic_dim(0) >= 2",
    ]
    assert repr(a) == "a.dynamic_dim(0)"


@pytest.mark.parametrize("other", ["n", 1.5, None, True])
def test_what_a_dim_is_not_compared_with(other: Any) -> None:
    for relation in (operator.eq, operator.lt, operator.ge, operator.ne):
        with pytest.raises(DimensionError, match="cannot be constrained so"):
            relation(DynamicDim(A), other)


def test_dims_and_constraints_have_no_truth_value() -> None:
    with pytest.raises(DimensionError, match="no truth value"):
        bool(DynamicDim(A))
    with pytest.raises(DimensionError, match="chained comparison"):
        _ = 2 < DynamicDim(A) < 5


def test_ranges() -> None:
    assert str(DimRange(2, 5)) == "2 to 5"
    assert str(DimRange(2)) == ">= 2"
    assert str(DimRange(0, 5)) == "<= 5"
    assert DimRange(2) & DimRange(0, 5) == DimRange(2, 5)
    assert (DimRange(6) & DimRange(0, 5)).is_empty
    assert DimRange(3, 3).fixed == 3
    assert DimRange(3).fixed is None
    assert [size in DimRange(2, 4) for size in range(6)] == [False, False, True, True, True, False]


def test_a_contradiction_names_every_constraint_that_took_part() -> None:
    plan = DimPlan()
    a, b, c = (plan.new(name) for name in "abc")
    for constraint in (
        DimConstraint(a, "<=", 4),
        DimConstraint(a, "==", b),
        DimConstraint(c, ">", 9),
        DimConstraint(c, ">=", 5),
    ):
        plan.add(constraint)
    with pytest.raises(DimensionError) as caught:
        plan.add(DimConstraint(b, "==", c))
    assert caught.value.got == "a <= 4 and a == b and c > 9 and c >= 5 and b == c"


def test_dims_are_not_ordered() -> None:
    plan = DimPlan()
    a, b = plan.new("a"), plan.new("b")
    with pytest.raises(DimensionError, match="not to be ordered"):
        plan.add(DimConstraint(a, "<", b))


RELATIONS = {
    "==": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
COUNT, LARGEST = 3, 5


@st.composite
def constraints(draw: st.DrawFn) -> tuple[int, str, int | str]:
    """Draw a constraint over three dims: with another dim (a letter) or with a number."""
    left = draw(st.integers(0, COUNT - 1))
    if draw(st.booleans()):
        return left, "==", "abc"[draw(st.integers(0, COUNT - 1))]
    return left, draw(st.sampled_from(sorted(RELATIONS))), draw(st.integers(-1, LARGEST + 1))


def holds(sizes: tuple[int, ...], constraint: tuple[int, str, int | str]) -> bool:
    left, relation, right = constraint
    other = sizes["abc".index(right)] if isinstance(right, str) else right
    return RELATIONS[relation](sizes[left], other)


@settings(max_examples=300, deadline=None)
@given(st.lists(constraints(), max_size=7))
def test_the_plan_agrees_with_brute_force(drawn: list[tuple[int, str, int | str]]) -> None:
    # No bound exceeds LARGEST + 1, so sizes up to LARGEST + 3 tell all sets of sizes apart.
    everything = list(product(range(LARGEST + 4), repeat=COUNT))
    solutions = [sizes for sizes in everything if all(holds(sizes, one) for one in drawn)]
    plan = DimPlan()
    dims = [plan.new(name) for name in "abc"]
    try:
        for left, relation, right in drawn:
            other = dims["abc".index(right)] if isinstance(right, str) else right
            plan.add(DimConstraint(dims[left], relation, other))  # type: ignore[arg-type]
    except DimensionError:
        assert solutions == []
        return
    assert solutions
    for index, dim in enumerate(dims):
        values = {sizes[index] for sizes in solutions}
        assert values == {size for size in range(LARGEST + 4) if size in plan.range_of(dim)}
        if len(values) == 1:
            assert plan.resolve(dim) == values.pop()
    for (i, left), (j, right) in product(enumerate(dims), repeat=2):
        always_equal = all(sizes[i] == sizes[j] for sizes in solutions)
        assert plan.are_equal(left, right) == always_equal
