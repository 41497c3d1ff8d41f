# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Pytrees: flattening user structures; the only door to torch's private pytree functions."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch.utils import _pytree as _torch_pytree

from .signature import Constant, Leaf, MappingTree, SequenceTree, Tree, build


@dataclass(frozen=True, slots=True)
class PathLeaf:
    """A leaf of a structure and where it is: `path` is what follows the name (`['a'][0]`)."""

    path: str
    dotted: str
    value: Any


def leaves_with_paths(value: Any) -> list[PathLeaf]:
    """Flatten a structure into its leaves; None is a leaf."""
    return list(_walk(value, "", ""))


def leaves(value: Any) -> list[Any]:
    """Flatten a structure into its leaves; None is a leaf."""
    return [leaf.value for leaf in _walk(value, "", "")]


def map_leaves(function: Callable[[Any], Any], value: Any) -> Any:
    """Rebuild a structure with `function` applied to every leaf; None is a leaf."""
    opened = _children(value)
    if opened is None:
        return function(value)
    items, rebuild = opened
    return rebuild([map_leaves(function, child) for _, child in items])


def children(value: Any) -> list[tuple[Any, Any]]:
    """Return the keys and values of an inner node; nothing for a leaf."""
    opened = _children(value)
    return [] if opened is None else opened[0]


def is_leaf(value: Any) -> bool:
    """Say whether a value is a leaf, not a structure; None is a leaf."""
    return _children(value) is None


def unflatten(structure: Any, values: Iterable[Any]) -> Any:
    """Rebuild `structure` with its leaves replaced, in order, by `values`."""
    supply = iter(values)
    return map_leaves(lambda _: next(supply), structure)


def to_tree(value: Any, leaf: Callable[[Any], int | None]) -> Tree:
    """Describe a structure: `leaf` numbers each flat value; None from it marks a constant."""
    opened = _children(value)
    if opened is None:
        index = leaf(value)
        return Constant(value) if index is None else Leaf(index)
    items, _ = opened
    if isinstance(value, Mapping) or not isinstance(value, (tuple, list)):
        return MappingTree(tuple((key, to_tree(child, leaf)) for key, child in items))
    kind = list if isinstance(value, list) else tuple
    return SequenceTree(kind, tuple(to_tree(child, leaf) for _, child in items))


def kinds(value: Any) -> Hashable:
    """Return what tells structures apart besides their leaves: the type and keys of each node."""
    opened = _children(value)
    if opened is None:
        return None
    return (type(value), tuple((key, kinds(child)) for key, child in opened[0]))


def _walk(value: Any, path: str, dotted: str) -> Iterator[PathLeaf]:
    opened = _children(value)
    if opened is None:
        yield PathLeaf(path, dotted, value)
        return
    for key, child in opened[0]:
        step = str(key) if not dotted else f"{dotted}.{key}"
        yield from _walk(child, f"{path}[{key!r}]", step)


_Children = tuple[list[tuple[Any, Any]], Callable[[list[Any]], Any]]


def _children(value: Any) -> _Children | None:
    """Return the keyed children of an inner node and how to rebuild it; None for a leaf."""
    if type(value) in (dict, OrderedDict):
        keys = list(value)
        kind = type(value)
        return [(key, value[key]) for key in keys], lambda new: kind(zip(keys, new, strict=True))
    if type(value) in (list, tuple):
        return list(enumerate(value)), type(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return list(enumerate(value)), lambda new: type(value)(*new)
    return _registered_children(value)


def _registered_children(value: Any) -> _Children | None:
    """Open a node type that is registered with torch (HF's ModelOutput, dataclasses, ...)."""
    if type(value) not in _torch_pytree.SUPPORTED_NODES:
        return None
    node = _torch_pytree.SUPPORTED_NODES[type(value)]
    items, context = node.flatten_fn(value)
    keys: list[Any] = list(range(len(items)))
    if node.flatten_with_keys_fn is not None:
        keyed, _ = node.flatten_with_keys_fn(value)
        keys = [_plain_key(key) for key, _ in keyed]
    return list(zip(keys, items, strict=True)), lambda new: node.unflatten_fn(new, context)


def _plain_key(entry: Any) -> Any:
    for attribute in ("key", "name", "idx"):
        if hasattr(entry, attribute):
            return getattr(entry, attribute)
    return str(entry)


def tree_of_spec(spec: Any, leaf: Callable[[], Tree]) -> Tree:
    """Describe a torch `TreeSpec`; `leaf` gives each leaf's tree in order."""
    if spec.is_leaf():
        return leaf()
    items = tuple(tree_of_spec(child, leaf) for child in spec.children())
    if spec.type is list:
        return SequenceTree(list, items)
    keys = _spec_keys(spec)
    if keys is None:
        return SequenceTree(tuple, items)
    return MappingTree(tuple(zip(keys, items, strict=True)))


def _spec_keys(spec: Any) -> list[str | int] | None:
    """Return the keys of a mapping-like node: dicts, and registered types that list their keys."""
    contexts = [spec.context, *(spec.context if isinstance(spec.context, (tuple, list)) else ())]
    for context in contexts:
        is_keys = isinstance(context, (list, tuple)) and len(context) == spec.num_children
        if is_keys and context and all(isinstance(key, (str, int)) for key in context):
            return list(context)
    return [] if isinstance(spec.type, type) and issubclass(spec.type, dict) else None


def map_constants(tree: Tree, function: Callable[[Any], Any]) -> Tree:
    """Return a tree with `function` applied to every constant."""
    match tree:
        case Leaf():
            return tree
        case Constant(value):
            return Constant(function(value))
        case SequenceTree(kind, items):
            return SequenceTree(kind, tuple(map_constants(item, function) for item in items))
        case MappingTree(items):
            return MappingTree(tuple((key, map_constants(item, function)) for key, item in items))


def leaf_paths(tree: Tree, path: str = "") -> Iterator[tuple[str, int]]:
    """Yield the path (`['a'][0]`) and the index of every leaf of a tree."""
    match tree:
        case Leaf(index):
            yield path, index
        case Constant():
            return
        case SequenceTree(_, items):
            for number, item in enumerate(items):
                yield from leaf_paths(item, f"{path}[{number}]")
        case MappingTree(items):
            for key, item in items:
                yield from leaf_paths(item, f"{path}[{key!r}]")


def flat_structure(count: int) -> Any:
    """Return the torch `TreeSpec` of a list of `count` leaves."""
    return _torch_pytree.tree_structure([0] * count)


def values_of_spec(spec: Any, leaf: Callable[[], Any]) -> Any:
    """Rebuild the structure of a torch `TreeSpec` with plain dicts, lists and tuples."""
    supply: list[Any] = []

    def next_leaf() -> Tree:
        supply.append(leaf())
        return Leaf(len(supply) - 1)

    return build(tree_of_spec(spec, next_leaf), supply)
