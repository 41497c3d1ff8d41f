# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What counts as a wrong result."""

import torch

from shark_turbine.tuning.differences import difference

X = torch.tensor([1.0, -4.0, float("inf"), float("nan")])


def of(got, expected, tolerance=None):
    return difference([[(got,)]], [[(expected,)]], tolerance)


def test_an_error_is_relative_to_the_largest_element():
    moved = X.clone()
    moved[0] += 1e-3
    error, reason = of(moved, X)
    assert 2.4e-4 < error < 2.6e-4
    assert reason is None
    assert "off by 2.5e-04" in str(of(moved, X, tolerance=1e-4)[1])


def test_infinities_and_nans_stay_where_they_are():
    assert of(X.clone(), X) == (0.0, None)
    assert of(X.nan_to_num(), X)[1] == "infinities or NaNs are elsewhere"
    assert of(X * float("nan"), X)[1] is not None
    other = X.clone()
    other[0] = float("nan")
    assert of(other, X)[1] == "elements are infinite or NaN that should not be"


def test_integers_must_be_equal():
    assert of(torch.tensor([1, 2]), torch.tensor([1, 3]))[1] == "1 of 2 elements differ"
    assert of(torch.tensor([1, 3]), torch.tensor([1, 3])) == (0.0, None)


def test_kinds_and_counts_must_be_equal():
    assert of(X.half(), X)[1] == "float16[4] instead of float32[4]"
    assert of(X[:2], X)[1] == "float32[2] instead of float32[4]"
    assert difference([[(X, X)]], [[(X,)]], None)[1] == "2 results instead of 1"
    assert "result 1: " in str(difference([[(X, X[:1])]], [[(X, X)]], None)[1])


def test_numbers_and_none_are_compared_too():
    assert of(3, 3) == (0.0, None)
    assert of(None, None) == (0.0, None)
    assert of(torch.tensor(2.0), 2.0) == (0.0, None)
    assert of(3, 4)[1] == "3 instead of 4"
