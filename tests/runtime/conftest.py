# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiled modules for the tests of the runtime room: MLIR by hand, the stock compiler binary.

The runtime room knows nothing of the compiler room, and neither do its tests.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import shark_turbine.runtime as rt
from shark_turbine.runtime import LoadedModule
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

IREE_COMPILE = shutil.which("iree-compile", path=str(Path(sys.executable).parent))


def build_vmfb(
    folder: Path,
    mlir: str,
    functions: Sequence[FunctionSignature] | None = None,
    compiler_flags: Sequence[str] = (),
    backend: str = "llvm-cpu",
    **manifest: Any,
) -> Path:
    """Compile MLIR text; with `functions`, append the manifest that the compiler room writes."""
    key = hashlib.sha256(
        repr((mlir, functions, compiler_flags, backend, manifest)).encode()
    ).hexdigest()[:16]
    path = folder / f"{key}.vmfb"
    if path.exists():
        return path
    command = [
        str(IREE_COMPILE),
        "-",
        f"--iree-hal-target-backends={backend}",
        *(compiler_flags or ["--iree-llvmcpu-target-cpu=host"]),
        "--iree-input-demote-f64-to-f32=false",
        "-o",
        str(path),
    ]
    run = subprocess.run(command, input=mlir.encode(), capture_output=True, timeout=120)
    assert run.returncode == 0, run.stderr.decode()
    if functions is not None:
        write_manifest(path, functions, **manifest)
    return path


def write_manifest(path: Path, functions: Sequence[FunctionSignature], **more: Any) -> None:
    """Append `shark_turbine.json` to a vmfb."""
    content = {
        "format": 1,
        "producer": "test",
        "versions": {},
        "module": "m",
        "target": {"backends": ["llvm-cpu"], "triple": None, "cpu": "host", "cpu_features": ""},
        "flags": [],
        "functions": [function.to_json() for function in functions],
    }
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("shark_turbine.json", json.dumps({**content, **more}))


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that compiles MLIR text to a vmfb, once per text and manifest."""
    folder = tmp_path_factory.mktemp("vmfb")

    def compile_once(
        mlir: str,
        *functions: FunctionSignature,
        compiler_flags: Sequence[str] = (),
        **manifest: Any,
    ) -> Path:
        described = functions if functions or manifest else None
        return build_vmfb(folder, mlir, described, compiler_flags, **manifest)

    return compile_once


def tensor(dtype: str, *shape: int | str) -> ValueType:
    """Return a tensor type."""
    return ValueType(dtype, shape)


def function(
    name: str,
    parameters: Mapping[str, Tree],
    arguments: Mapping[str, ValueType],
    result: Tree,
    *results: ValueType,
    keyword_only: Sequence[str] = (),
    contracts: Sequence[str] = (),
) -> FunctionSignature:
    """Return a signature without the ceremony."""
    return FunctionSignature(
        name,
        tuple(Parameter(key, tree, key in keyword_only) for key, tree in parameters.items()),
        tuple(Argument(key, kind) for key, kind in arguments.items()),
        result,
        results,
        tuple(contracts),
    )


def flat(name: str, arguments: Mapping[str, ValueType], *results: ValueType) -> FunctionSignature:
    """Return the signature of a function without trees."""
    leaves = tuple(Leaf(index) for index in range(len(results)))
    result = Constant(None) if not leaves else leaves[0] if len(leaves) == 1 else None
    return function(
        name,
        {key: Leaf(index) for index, key in enumerate(arguments)},
        arguments,
        result or SequenceTree(tuple, leaves),
        *results,
    )


F4 = tensor("f32", 4)

BASIC_MLIR = """
module @basic {
  util.global private mutable @state = dense<1.0> : tensor<4xf32>
  func.func @add(%a: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<4xf32> {
    %0 = arith.addf %a, %b : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
  func.func @same(%a: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
    return %a, %a : tensor<4xf32>, tensor<4xf32>
  }
  func.func @update(%a: tensor<4xf32>) -> tensor<4xf32> {
    %nine = arith.constant 9.0 : f32
    %c0 = arith.constant 0 : index
    %0 = tensor.insert %nine into %a[%c0] : tensor<4xf32>
    BARRIER
    return %0 : tensor<4xf32>
  }
  func.func @get() -> tensor<4xf32> {
    %0 = util.global.load @state : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
  func.func @set(%a: tensor<4xf32>) {
    util.global.store %a, @state : tensor<4xf32>
    return
  }
  func.func @constant() -> tensor<4xf32> {
    %0 = arith.constant dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
  func.func @rows(%a: tensor<?x4xf32>, %b: tensor<?x4xf32>) -> tensor<?x4xf32> {
    %c0 = arith.constant 0 : index
    %c8 = arith.constant 8 : index
    %n = tensor.dim %a, %c0 : tensor<?x4xf32>
    %small = arith.cmpi slt, %n, %c8 : index
    cf.assert %small, "rows: a.shape[0] must be < 8"
    %0 = arith.addf %a, %b : tensor<?x4xf32>
    return %0 : tensor<?x4xf32>
  }
  func.func @tree(%a: tensor<4xf32>, %b: tensor<4xf32>, %c: tensor<4xf32>)
      -> (tensor<4xf32>, tensor<4xf32>) {
    %0 = arith.addf %a, %b : tensor<4xf32>
    %1 = arith.addf %0, %c : tensor<4xf32>
    return %0, %1 : tensor<4xf32>, tensor<4xf32>
  }
  func.func @scalars(%i: i32, %l: i64, %f: f32, %d: f64, %b: i1, %u: i64, %z: tensor<f32>)
      -> (i32, i64, f32, f64, i1, i64, tensor<f32>) {
    return %i, %l, %f, %d, %b, %u, %z : i32, i64, f32, f64, i1, i64, tensor<f32>
  }
}
"""

PAIR = SequenceTree(tuple, (Leaf(0), MappingTree((("a", Leaf(1)), ("n", Constant(None))))))
BASIC = (
    flat("add", {"a": F4, "b": F4}, F4),
    flat("same", {"a": F4}, F4, F4),
    flat("update", {"a": F4}, F4),
    flat("get", {}, F4),
    flat("set", {"a": F4}),
    flat("constant", {}, F4),
    function(
        "rows",
        {"a": Leaf(0), "b": Leaf(1)},
        {"a": tensor("f32", "n", 4), "b": tensor("f32", "n", 4)},
        Leaf(0),
        tensor("f32", "n", 4),
        contracts=["a.shape[0] must be < 8"],
    ),
    function(
        "tree",
        {"x": PAIR, "scale": Leaf(2), "flag": Constant(True), "mode": Constant(None)},
        {"x[0]": F4, "x[1]['a']": F4, "scale": F4},
        MappingTree(
            (
                ("sum", Leaf(1)),
                ("parts", SequenceTree(list, (Leaf(0), Constant(3)))),
                ("none", Constant(None)),
            )
        ),
        F4,
        F4,
        keyword_only=["scale", "flag", "mode"],
    ),
    flat(
        "scalars",
        scalars := {
            "i": ValueType("i32", None),
            "l": ValueType("i64", None),
            "f": ValueType("f32", None),
            "d": ValueType("f64", None),
            "b": ValueType("bool", None),
            "u": ValueType("u64", None),
            "z": ValueType("f32", ()),
        },
        *scalars.values(),
    ),
)


@pytest.fixture(scope="session")
def basic_path(build: Callable[..., Path]) -> Path:
    """A module that updates its argument in place where it is allowed to."""
    return build(BASIC_MLIR.replace("BARRIER", ""), *BASIC)


@pytest.fixture(scope="session")
def shared_path(build: Callable[..., Path]) -> Path:
    """The same with a barrier, and a manifest that says that arguments are left alone."""
    barrier = "util.optimization_barrier %a : tensor<4xf32>"
    return build(BASIC_MLIR.replace("BARRIER", barrier), *BASIC, preserves_inputs=True)


@pytest.fixture(scope="session", params=["copied", "shared"])
def basic(request: pytest.FixtureRequest, basic_path: Path, shared_path: Path) -> LoadedModule:
    """The loaded module, once with copied and once with borrowed arguments."""
    return rt.load(basic_path if request.param == "copied" else shared_path, device="local-sync")
