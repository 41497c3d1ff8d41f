# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Structures: flattened, rebuilt and described, whatever torch knows to be one."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, namedtuple
from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils import _pytree

from shark_turbine import trees
from shark_turbine.signature import Leaf, MappingTree, SequenceTree, build

Point = namedtuple("Point", ["x", "y"])


@dataclasses.dataclass
class Pair:
    left: Any
    right: Any


torch.export.register_dataclass(Pair)

STRUCTURES = st.recursive(
    st.one_of(st.none(), st.integers(), st.booleans()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.text("abc", min_size=1, max_size=2), inner, max_size=3),
    ),
    max_leaves=8,
)


@given(STRUCTURES)
def test_rebuilding_gives_the_same_structure(value: Any) -> None:
    assert trees.unflatten(value, trees.leaves(value)) == value
    assert [leaf.value for leaf in trees.leaves_with_paths(value)] == trees.leaves(value)
    numbered = iter(range(1000))
    tree = trees.to_tree(value, lambda _: next(numbered))
    assert build(tree, trees.leaves(value)) == value


@given(STRUCTURES)
def test_paths_lead_to_the_leaves(value: Any) -> None:
    for leaf in trees.leaves_with_paths(value):
        assert eval(f"value{leaf.path}", {"value": value}) == leaf.value


def test_none_is_a_leaf_and_structures_are_not() -> None:
    assert trees.leaves([None, {"a": None}]) == [None, None]
    assert trees.is_leaf(None)
    assert not any(trees.is_leaf(value) for value in ([], (), {}, OrderedDict(), Point(1, 2)))


def test_dotted_paths() -> None:
    value = {"seq": [1, {"w": 2}], "x": 3}
    assert [leaf.dotted for leaf in trees.leaves_with_paths(value)] == ["seq.0", "seq.1.w", "x"]
    assert [leaf.path for leaf in trees.leaves_with_paths(value)] == [
        "['seq'][0]",
        "['seq'][1]['w']",
        "['x']",
    ]


def test_dicts_keep_their_order() -> None:
    value = {"b": 1, "a": 2}
    assert trees.leaves(value) == [1, 2] == trees.leaves(OrderedDict(value))
    assert type(trees.map_leaves(str, OrderedDict(value))) is OrderedDict


def test_named_tuples_and_registered_classes() -> None:
    assert trees.map_leaves(lambda x: x + 1, Point(1, 2)) == Point(2, 3)
    pair = Pair(1, [2, 3])
    assert trees.leaves(pair) == [1, 2, 3]
    assert trees.map_leaves(lambda x: x * 2, pair) == Pair(2, [4, 6])
    supply = iter(range(3))
    tree = trees.to_tree(pair, lambda _: next(supply))
    assert tree == MappingTree(
        (("left", Leaf(0)), ("right", SequenceTree(list, (Leaf(1), Leaf(2)))))
    )


def test_torchs_specifications_are_read() -> None:
    value = {"a": [1, (2,)], "b": Pair(3, 4), "c": OrderedDict(d=5), "e": []}
    flat, spec = _pytree.tree_flatten(value)
    supply = iter(flat)
    rebuilt = trees.values_of_spec(spec, lambda: next(supply))
    assert rebuilt == {
        "a": [1, (2,)],
        "b": {"left": 3, "right": 4},
        "c": {"d": 5},
        "e": [],
    }


def test_leaf_paths_of_a_tree() -> None:
    supply = iter(range(3))
    tree = trees.to_tree({"a": [1, None], "b": 2}, lambda x: None if x is None else next(supply))
    assert list(trees.leaf_paths(tree)) == [("['a'][0]", 0), ("['b']", 1)]
    replaced = trees.map_constants(tree, lambda value: "gone")
    assert build(replaced, [1, 2]) == {"a": [1, "gone"], "b": 2}
