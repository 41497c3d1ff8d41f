# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Signatures: shown as Python would, written as JSON and read back."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shark_turbine.signature import (
    Argument,
    Constant,
    FunctionSignature,
    Leaf,
    MappingTree,
    Parameter,
    SequenceTree,
    Tree,
    ValueType,
    build,
    format_tree,
    leaf_indices,
    tree_from_json,
    tree_to_json,
)

CONSTANTS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=3)
)
KEYS = st.one_of(st.text(max_size=3), st.integers(-5, 5))
TREES: st.SearchStrategy[Tree] = st.recursive(
    st.one_of(st.integers(0, 5).map(Leaf), CONSTANTS.map(Constant)),
    lambda inner: st.one_of(
        st.builds(
            SequenceTree, st.sampled_from([tuple, list]), st.lists(inner, max_size=3).map(tuple)
        ),
        st.dictionaries(KEYS, inner, max_size=3).map(lambda d: MappingTree(tuple(d.items()))),
    ),
    max_leaves=6,
)


@given(TREES)
def test_trees_survive_json(tree: Tree) -> None:
    assert tree_from_json(json.loads(json.dumps(tree_to_json(tree)))) == tree


@given(TREES)
def test_trees_are_shown_as_the_value_that_they_build(tree: Tree) -> None:
    leaves = [f"leaf{index}" for index in range(6)]
    shown = format_tree(tree, lambda index: repr(leaves[index]))
    assert eval(shown, {"inf": math.inf}) == build(tree, leaves)
    assert all(0 <= index < 6 for index in leaf_indices(tree))


def test_an_unknown_tree_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown tree kind 'set'"):
        tree_from_json({"set": [1]})


SIGNATURE = FunctionSignature(
    name="run",
    parameters=(
        Parameter("x", Leaf(0)),
        Parameter("state", MappingTree((("h", Leaf(1)), ("n", Constant(3))))),
        Parameter("scale", Leaf(2), keyword_only=True),
    ),
    arguments=(
        Argument("x", ValueType("f32", ("n", 4))),
        Argument("state['h']", ValueType("bf16", ())),
        Argument("scale", ValueType("f64", None)),
    ),
    result=SequenceTree(tuple, (Leaf(0),)),
    results=(ValueType("i64", (1, "d0")),),
    contracts=("run: x.shape[0] must be <= 8",),
)


def test_a_signature_reads_like_python() -> None:
    shown = "run(x: f32[n, 4], state: {'h': bf16[], 'n': 3}, scale: f64) -> (i64[1, d0],)"
    assert str(SIGNATURE) == shown
    assert str(SIGNATURE.arguments[1]) == "state['h']: bf16[]"


def test_a_signature_survives_json() -> None:
    data: Any = json.loads(json.dumps(SIGNATURE.to_json()))
    assert FunctionSignature.from_json(data) == SIGNATURE
