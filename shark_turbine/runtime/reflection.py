# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Signatures of functions in a vmfb that shark_turbine did not write, from what the compiler left.

The stock compiler stores `iree.abi.declaration`, for example
`sync func @f(%input0: tensor<?x4xf32>, %input1: i64) -> (%output0: tensor<4xi1>)`.
"""

from __future__ import annotations

import itertools
import re

from ..signature import (
    Argument,
    Constant,
    FunctionSignature,
    Leaf,
    Parameter,
    SequenceTree,
    Tree,
    ValueType,
)

_DECLARATION = re.compile(
    r"^\s*(?:sync |async |coarse-fences )?func @.*?\((?P<taken>.*)\) -> \((?P<given>.*)\)\s*$", re.S
)
_ITEM = re.compile(
    r"%(?P<name>[\w$.-]+): (?P<type>tensor<[^<>]*(?:<[^<>]*>)?[^<>]*>|[\w]+)(?P<rest>[^%]*)"
)
_TENSOR = re.compile(r"^tensor<(?P<dims>(?:(?:\d+|\?)x)*)(?P<element>.+)>$")
_DTYPE = {
    "i1": "bool",
    "complex<f32>": "complex64",
    "complex<f64>": "complex128",
    "f8E4M3FN": "f8e4m3fn",
    "f8E4M3FNUZ": "f8e4m3fnuz",
    "f8E5M2": "f8e5m2",
    "f8E5M2FNUZ": "f8e5m2fnuz",
    "f8E8M0FNU": "f8e8m0fnu",
    **{name: name for name in ("f16", "bf16", "f32", "f64", "i8", "i16", "i32", "i64")},
    **{f"ui{bits}": f"u{bits}" for bits in (8, 16, 32, 64)},
    **{f"si{bits}": f"i{bits}" for bits in (8, 16, 32, 64)},
}


def signature(name: str, declaration: str) -> FunctionSignature | None:
    """Return the flat signature of a declaration, None where it holds what we cannot carry."""
    found = _DECLARATION.match(declaration)
    if found is None:
        return None
    unnamed = (f"?{number}" for number in itertools.count())
    taken = _items(found["taken"], unnamed)
    given = _items(found["given"], unnamed)
    if taken is None or given is None:
        return None
    leaves = tuple(Leaf(index) for index in range(len(given)))
    result: Tree = SequenceTree(tuple, leaves)
    if len(leaves) < 2:
        result = leaves[0] if leaves else Constant(None)
    return FunctionSignature(
        name=name,
        parameters=tuple(Parameter(arg, Leaf(index)) for index, (arg, _) in enumerate(taken)),
        arguments=tuple(Argument(arg, kind) for arg, kind in taken),
        result=result,
        results=tuple(kind for _, kind in given),
    )


def _items(text: str, unnamed: itertools.chain[str] | object) -> list[tuple[str, ValueType]] | None:
    items: list[tuple[str, ValueType]] = []
    for match in _ITEM.finditer(text):
        kind = _value_type(match["type"], match["rest"], unnamed)
        if kind is None:
            return None
        items.append((match["name"], kind))
    return items if len(items) == len(re.findall(r"%[\w$.-]+: ", text)) else None


def _value_type(text: str, rest: str, unnamed: object) -> ValueType | None:
    encoding = re.search(r"iree\.abi\.encoding = (tensor<[^{}]*>)", rest)
    tensor = _TENSOR.match(text)
    if tensor is None:
        dtype = _DTYPE.get(text)
        return None if dtype is None else ValueType(dtype, None)
    element = tensor["element"]
    if encoding is not None and (encoded := _TENSOR.match(encoding[1])) is not None:
        element = encoded["element"]
    dtype = _DTYPE.get(element)
    if dtype is None:
        return None
    dims = [dim for dim in tensor["dims"].split("x") if dim]
    return ValueType(dtype, tuple(next(unnamed) if dim == "?" else int(dim) for dim in dims))  # type: ignore[call-overload]
