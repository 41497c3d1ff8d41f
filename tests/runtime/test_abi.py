# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`iree_abi` against the real stock runtime: what a client without shark_turbine gets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import iree.runtime as ireert
import ml_dtypes
import numpy as np
import pytest

from shark_turbine.abi import iree_abi
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
)


def signature(
    dtypes: str,
    result: Tree,
    results: str,
    *,
    shape: tuple[int | str, ...] | None = (4,),
    keyword_only: tuple[str, ...] = (),
) -> FunctionSignature:
    """Return a signature `f(a, b, ...) -> result` over values of one shape."""
    names = "abcdefgh"
    taken = [ValueType(dtype, shape) for dtype in dtypes.split()]
    return FunctionSignature(
        name="f",
        parameters=tuple(
            Parameter(names[i], Leaf(i), names[i] in keyword_only) for i in range(len(taken))
        ),
        arguments=tuple(Argument(names[i], kind) for i, kind in enumerate(taken)),
        result=result,
        results=tuple(ValueType(dtype, shape) for dtype in results.split()),
    )


def identity(described: FunctionSignature, spelling: dict[str, str]) -> str:
    """Return MLIR of a function that gives its arguments back, in order."""

    def kind(value: ValueType, named: bool) -> str:
        if value.shape is None:
            return spelling[value.dtype]
        dims = "".join("?x" if isinstance(dim, str) else f"{dim}x" for dim in value.shape)
        unsigned = value.dtype if value.dtype.startswith("u") else None
        plain = f"tensor<{dims}{spelling[value.dtype]}>"
        if unsigned is None or not named:
            return plain
        return f"{plain} {{iree.abi.encoding = tensor<{dims}{unsigned.replace('u', 'ui')}>}}"

    taken = ", ".join(f"%{i}: {kind(a.type, True)}" for i, a in enumerate(described.arguments))
    given = ", ".join(kind(result, True) for result in described.results)
    values = ", ".join(f"%{i}" for i in range(len(described.results)))
    kinds = ", ".join(kind(result, False) for result in described.results)
    abi = iree_abi(described)
    reflection = (
        "" if abi is None else f"attributes {{iree.reflection = {{iree.abi = {json.dumps(abi)}}}}}"
    )
    ending = f"return {values} : {kinds}" if kinds else "return"
    return f"func.func @f({taken}) -> ({given}) {reflection} {{ {ending} }}"


MLIR = {
    "f16": "f16", "bf16": "bf16", "f32": "f32", "f64": "f64", "bool": "i1",
    "i8": "i8", "i16": "i16", "i32": "i32", "i64": "i64",
    "u8": "i8", "u16": "i16", "u32": "i32", "u64": "i64",
    "complex64": "complex<f32>", "f8e4m3fn": "f8E4M3FN", "f8e5m2": "f8E5M2",
}  # fmt: skip


@pytest.fixture
def stock(build: Callable[..., Path]) -> Callable[[FunctionSignature], Any]:
    def load(described: FunctionSignature) -> Any:
        config = ireert.Config("local-sync")
        path = build(identity(described, MLIR))
        module = ireert.VmModule.copy_buffer(config.vm_instance, path.read_bytes())
        return ireert.load_vm_module(module, config)["f"]

    return load


A = np.array([1, 2, 3, 4], np.float32)
B = A + 10
TUPLE = SequenceTree(tuple, (Leaf(0), Leaf(1)))


def host(value: Any) -> Any:
    """Return nested results with every device array as a list."""
    if isinstance(value, dict):
        return {key: host(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(host(item) for item in value)
    return value.to_host().tolist() if hasattr(value, "to_host") else value


def nested_dict() -> Tree:
    pair = SequenceTree(list, (Leaf(1), MappingTree((("k", Leaf(2)), ("none", Constant(None))))))
    return MappingTree((("a", Leaf(0)), ("state", pair), ("n", Constant(3)), (7, Leaf(3))))


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (Leaf(0), [1, 2, 3, 4]),
        (SequenceTree(tuple, (Leaf(0),)), ([1, 2, 3, 4],)),
        (SequenceTree(list, (Leaf(0), Constant(None))), [[1, 2, 3, 4]]),
        (TUPLE, ([1, 2, 3, 4], [11, 12, 13, 14])),
        (SequenceTree(list, (Leaf(0), Leaf(1))), [[1, 2, 3, 4], [11, 12, 13, 14]]),
        (
            SequenceTree(tuple, (Leaf(0), SequenceTree(tuple, (Leaf(1), Constant(1))))),
            ([1, 2, 3, 4], [11, 12, 13, 14]),
        ),
        (MappingTree((("x", Leaf(0)), (3, Leaf(1)))), {"x": [1, 2, 3, 4], 3: [11, 12, 13, 14]}),
        (
            nested_dict(),
            {
                "a": [1, 2, 3, 4],
                "state[0]": [11, 12, 13, 14],
                "state[1]['k']": [1, 2, 3, 4],
                7: [2, 3, 4, 5],
            },
        ),
        (SequenceTree(tuple, (Leaf(1), Leaf(0))), ([1, 2, 3, 4], [11, 12, 13, 14])),
    ],
    ids=str,
)
def test_results_come_back_as_the_procedure_returned_them(
    stock: Callable[..., Any], result: Tree, expected: object
) -> None:
    leaves = 4 if isinstance(result, MappingTree) and len(result.items) == 4 else 2
    leaves = 1 if "Leaf(index=1)" not in repr(result) else leaves
    described = signature("f32 f32 f32 f32", result, " ".join(["f32"] * leaves))
    assert host(stock(described)(A, B, A, A + 1)) == expected


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (Constant(None), None),
        (Constant(5), None),
        (SequenceTree(tuple, ()), ()),
        (SequenceTree(list, (Constant(None),)), []),
        (MappingTree(()), {}),
    ],
    ids=str,
)
def test_results_without_leaves(stock: Callable[..., Any], result: Tree, expected: object) -> None:
    assert stock(signature("f32", result, ""))(A) == expected


@pytest.mark.parametrize("dtype", ["f32", "f64", "i8", "i16", "i32", "i64", "bool"])
def test_described_dtypes_keep_their_bits_and_their_dict(
    stock: Callable[..., Any], dtype: str
) -> None:
    name = {"f": "float", "i": "int"}.get(dtype[0], "") + dtype[1:]
    values = np.array([0, 1, 2, 200], np.int16).astype("bool" if dtype == "bool" else name)
    function = stock(signature(dtype, MappingTree((("x", Leaf(0)),)), dtype, shape=("n",)))
    result = function(values)["x"].to_host()
    assert result.dtype == values.dtype
    np.testing.assert_array_equal(result, values)


@pytest.mark.parametrize("bits", [8, 16, 32, 64])
def test_unsigned_arrays_go_in_bit_for_bit_and_come_back_unsigned(
    build: Callable[..., Path], bits: int
) -> None:
    """What the function computes is unsigned; an argument handed through keeps what it went in as."""
    described = signature(f"u{bits}", MappingTree((("x", Leaf(0)),)), f"u{bits}", shape=("n",))
    kind, encoding = f"tensor<?xi{bits}>", f"{{iree.abi.encoding = tensor<?xui{bits}>}}"
    mlir = f"""func.func @f(%a: {kind} {encoding}) -> ({kind} {encoding})
        attributes {{iree.reflection = {{iree.abi = {json.dumps(iree_abi(described))}}}}} {{
      %0 = arith.addi %a, %a : {kind}
      return %0 : {kind}
    }}"""
    config = ireert.Config("local-sync")
    module = ireert.VmModule.copy_buffer(config.vm_instance, build(mlir).read_bytes())
    values = np.array([0, 2**bits - 1, 2 ** (bits - 1) - 1], f"uint{bits}")
    result = ireert.load_vm_module(module, config)["f"](values)["x"].to_host()
    assert result.dtype == values.dtype
    np.testing.assert_array_equal(result, values + values)


@pytest.mark.parametrize(
    ("dtype", "array"),
    [
        ("f16", np.float16),
        ("bf16", ml_dtypes.bfloat16),
        ("complex64", np.complex64),
        ("f8e4m3fn", ml_dtypes.float8_e4m3fn),
        ("f8e5m2", ml_dtypes.float8_e5m2),
    ],
)
def test_undescribable_dtypes_pass_as_they_are(
    stock: Callable[..., Any], dtype: str, array: Any
) -> None:
    described = signature(
        f"{dtype} f32", MappingTree((("x", Leaf(0)), ("y", Leaf(1)))), f"{dtype} f32"
    )
    assert iree_abi(described) is None
    values = np.array([1, 2, 3, 4]).astype(array)
    x, y = stock(described)(values, A)
    assert x.to_host().dtype == np.dtype(array)
    assert x.to_host().tolist() == values.tolist()
    assert y.to_host().tolist() == A.tolist()


def test_undescribable_results_keep_the_dict(stock: Callable[..., Any], build: Any) -> None:
    tree = MappingTree((("h", Leaf(0)), ("b", Leaf(1)), ("u", Leaf(2)), ("t", Leaf(3))))
    described = signature("", tree, "f16 bf16 u8 bool")
    mlir = f"""func.func @f() -> (tensor<4xf16>, tensor<4xbf16>,
            tensor<4xi8> {{iree.abi.encoding = tensor<4xui8>}}, tensor<4xi1>)
        attributes {{iree.reflection = {{iree.abi = {json.dumps(iree_abi(described))}}}}} {{
      %0 = arith.constant dense<1.5> : tensor<4xf16>
      %1 = arith.constant dense<1.5> : tensor<4xbf16>
      %2 = arith.constant dense<200> : tensor<4xi8>
      %3 = arith.constant dense<1> : tensor<4xi1>
      return %0, %1, %2, %3 : tensor<4xf16>, tensor<4xbf16>, tensor<4xi8>, tensor<4xi1>
    }}"""
    config = ireert.Config("local-sync")
    module = ireert.VmModule.copy_buffer(config.vm_instance, build(mlir).read_bytes())
    result = ireert.load_vm_module(module, config)["f"]()
    assert {
        key: (value.to_host().dtype.name, value.to_host()[0]) for key, value in result.items()
    } == {
        "h": ("float16", 1.5),
        "b": ("bfloat16", 1.5),
        "u": ("uint8", 200),
        "t": ("bool", True),
    }


def test_scalars(stock: Callable[..., Any]) -> None:
    dtypes = "bool i32 i64 f32 f64 u32 i8 u8"
    items = tuple((name, Leaf(i)) for i, name in enumerate(dtypes.split()))
    function = stock(signature(dtypes, MappingTree(items), dtypes, shape=None))
    assert function(True, -5, 2**40, 1.5, 0.1, 2**32 - 1, -7, 200) == {
        "bool": 1, "i32": -5, "i64": 2**40, "f32": 1.5, "f64": 0.1, "u32": -1, "i8": -7, "u8": 200,
    }  # fmt: skip


def test_keyword_only_parameters_are_keywords(stock: Callable[..., Any]) -> None:
    function = stock(signature("f32 f32", TUPLE, "f32 f32", keyword_only=("b",)))
    assert host(function(A, b=B)) == (A.tolist(), B.tolist())
    with pytest.raises(ValueError, match="expected 1 got 2"):
        function(A, B)


def test_the_text() -> None:
    described = FunctionSignature(
        "f",
        (
            Parameter("x", MappingTree((("a", Leaf(0)), ("b", Leaf(1))))),
            Parameter("flag", Constant(True), keyword_only=True),
            Parameter("k", Leaf(2), keyword_only=True),
        ),
        (
            Argument("x['a']", ValueType("f32", ("n", 4))),
            Argument("x['b']", ValueType("bool", ())),
            Argument("k", ValueType("i64", None)),
        ),
        Leaf(0),
        (ValueType("bf16", (2,)),),
    )
    assert iree_abi(described) == (
        '{"a":[["ndarray","f32",2,null,4],["ndarray","i1",0],["named","k","i64"]],"r":[null],"v":1}'
    )
