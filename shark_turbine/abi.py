# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The `iree.abi` reflection attribute: how stock `iree.runtime` packs arguments and unpacks results.

What that runtime (measured with 3.13) can express, and what is done where it cannot:

* **Arguments** are flat. An argument is either positional or keyword (`named`), never both, so a
  parameter is positional unless it is keyword-only in Python; our own loader takes both.
* An argument needs a descriptor, and descriptors exist for f32, f64, bool and the signed integers
  only. Unsigned arrays go through the signed one of equal width, bit for bit. A function that
  takes any other dtype (f16, bf16, float8, complex) has no `iree.abi` at all: the runtime then
  passes arrays as they are and returns flat results.
* **Results**: one list, tuple or dict of leaves comes back as such. Nested structures flatten: a
  dict gets keys such as `state[0]`, a tuple or list its leaves in order. Values known at tracing
  (None, numbers) are not in the artifact and are left out.
* A result without a descriptor (null) keeps the element type that the artifact reports: unsigned
  where the function says so with `iree.abi.encoding = tensor<...xui8>` on that result.
* A bool scalar travels as an int.

Arrays of another dtype than the descriptor's are cast by `numpy.asarray`, silently; that is the
stock runtime's doing, and the reason why our loader checks dtypes itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from .signature import (
    Constant,
    FunctionSignature,
    Json,
    Leaf,
    MappingTree,
    SequenceTree,
    Tree,
    ValueType,
    leaf_indices,
)

_ARGUMENT_ELEMENT = {
    "f32": "f32",
    "f64": "f64",
    "bool": "i1",
    "i8": "i8",
    "i16": "i16",
    "i32": "i32",
    "i64": "i64",
    "u8": "i8",
    "u16": "i16",
    "u32": "i32",
    "u64": "i64",
}
# The VM holds integers of 32 and 64 bits only; narrow ones travel widened. An u32 goes as an i64
# because the binding refuses what does not fit, and the VM takes the low half.
_ARGUMENT_SCALAR = {
    "f32": "f32",
    "f64": "f64",
    "bool": "i32",
    "i8": "i32",
    "i16": "i32",
    "i32": "i32",
    "i64": "i64",
    "u8": "i32",
    "u16": "i32",
    "u32": "i64",
    "u64": "i64",
}
_RESULT_ELEMENT = {
    "f16": "f16",
    "f32": "f32",
    "f64": "f64",
    "bool": "i1",
    "i8": "i8",
    "i16": "i16",
    "i32": "i32",
    "i64": "i64",
    "complex64": "complex<f32>",
    "complex128": "complex<f64>",
}


def iree_abi(signature: FunctionSignature) -> str | None:
    """Return the JSON text of the `iree.abi` reflection attribute of a public function.

    None means that the attribute must be left off, because the function takes a dtype that the
    stock runtime cannot describe; it then passes arrays as they are.
    """
    arguments = [_argument(argument.type) for argument in signature.arguments]
    if None in arguments:
        return None
    for name, index in _keyword_only_leaves(signature):
        arguments[index] = ["named", name, arguments[index]]
    results = _results(signature.result, signature.results)
    return json.dumps({"a": arguments, "r": results, "v": 1}, separators=(",", ":"))


def _argument(value: ValueType) -> Json:
    if value.shape is None:
        return _ARGUMENT_SCALAR.get(value.dtype)
    return _tensor(value, _ARGUMENT_ELEMENT)


def _tensor(value: ValueType, elements: dict[str, str]) -> Json:
    element = elements.get(value.dtype)
    if element is None or value.shape is None:
        return None
    dims = [dim if isinstance(dim, int) else None for dim in value.shape]
    return ["ndarray", element, len(dims), *dims]


def _keyword_only_leaves(signature: FunctionSignature) -> Iterator[tuple[str, int]]:
    """Yield the keyword and the flat index of what can be passed by keyword only.

    Positional arguments fill the flat list from the front, so only a tail can be named.
    """
    tail = len(signature.arguments)
    for parameter in reversed(signature.parameters):
        indices = list(leaf_indices(parameter.tree))
        if not parameter.keyword_only or any(index < tail - len(indices) for index in indices):
            return
        tail -= len(indices)
        for index in indices:
            yield signature.arguments[index].name, index


def _results(tree: Tree, results: tuple[ValueType, ...]) -> list[Json]:
    flat = [_tensor(value, _RESULT_ELEMENT) for value in results]
    if list(leaf_indices(tree)) != list(range(len(results))):
        return flat
    match tree:
        case SequenceTree(kind):
            return [["slist" if kind is list else "stuple", *flat]]
        case MappingTree():
            return [["sdict", *([key, flat[index]] for key, index in _keyed(tree))]]
        case _:
            return flat


def _keyed(tree: MappingTree) -> Iterator[tuple[str | int, int]]:
    """Yield a key for each leaf of a dict: its own where it is a plain entry, else its path."""
    for key, item in tree.items:
        if isinstance(item, Leaf):
            yield key, item.index
        else:
            yield from _paths(str(key), item)


def _paths(prefix: str, tree: Tree) -> Iterator[tuple[str, int]]:
    match tree:
        case Leaf(index):
            yield prefix, index
        case Constant():
            return
        case SequenceTree(_, items):
            for position, item in enumerate(items):
                yield from _paths(f"{prefix}[{position}]", item)
        case MappingTree(items):
            for key, item in items:
                yield from _paths(f"{prefix}[{key!r}]", item)
