# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What is one program, and what makes another."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from shark_turbine.compiler import (
    cache_key,
    compile_cached,
    inputs,
)
from shark_turbine.compiler.options import Options
from shark_turbine.signature import FunctionSignature, Leaf
from tests.compiler.cache.conftest import DOUBLE, SQUARE, entries, key_of


def test_the_place_of_a_program_does_not_matter() -> None:
    moved = DOUBLE.replace("%x: tensor<4xf32>", '%x: tensor<4xf32> loc("other.py":9:9)')
    moved = "\n\n" + moved.replace("return", "\n return").replace("}", '} loc("a.py":1:1)')
    assert key_of(moved) == key_of(DOUBLE) == key_of(DOUBLE.encode())


@pytest.mark.parametrize(
    ("module", "options"),
    [
        (SQUARE, {}),
        (DOUBLE.replace("@main", "@other"), {}),
        (DOUBLE.replace("4xf32", "5xf32"), {}),
        (DOUBLE.replace("4xf32", "4xf64"), {}),
        (DOUBLE, {"flags": ["--iree-opt-level=O2"]}),
        (DOUBLE, {"target_backends": ["vmvx"]}),
        (DOUBLE, {"target_cpu": "generic"}),
        (DOUBLE, {"target_cpu_features": "+avx2"}),
        (DOUBLE, {"target_triple": "aarch64-linux-gnu"}),
        (DOUBLE, {"strip_contracts": True}),
        (DOUBLE, {"lowering": "torch-mlir"}),
        (DOUBLE, {"name": "graph"}),
        (DOUBLE, {"stateful": False}),
        (DOUBLE, {"preserves_inputs": True}),
        (DOUBLE, {"signatures": [FunctionSignature("main", (), (), Leaf(0), ())]}),
    ],
)
def test_what_makes_another_program(module: str, options: dict[str, Any]) -> None:
    assert key_of(module, **options) != key_of(DOUBLE)


def test_constants_are_part_of_the_program() -> None:
    small = "util.global private @w = dense<[1.0, 2.0]> : tensor<2xf32>"
    large = 'util.global private @w = dense_resource<w> : tensor<2xf32>\n{{-# dialect_resources: \
        {{ builtin: {{ w: "0x040000000000803F0000{}" }} }} #-}}'
    modules = [small, small.replace("2.0", "3.0"), large.format("803F"), large.format("0040")]
    assert len(set(map(key_of, modules))) == 4


def test_the_time_limit_is_no_part_of_the_program() -> None:
    assert key_of(DOUBLE, timeout=5.0) == key_of(DOUBLE)


def test_versions_and_the_cpu_are_part_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = key_of(DOUBLE), key_of(DOUBLE, target_cpu="generic")
    with monkeypatch.context() as patch:
        patch.setattr(cache_key, "machine", lambda: "another")
        assert key_of(DOUBLE) != before[0]
        assert key_of(DOUBLE, target_cpu="generic") == before[1]
    with monkeypatch.context() as patch:
        patch.setattr(cache_key, "__version__", "9")
        assert key_of(DOUBLE) != before[0]
    monkeypatch.setattr(cache_key, "producing_versions", lambda: {"iree_compiler": "9"})
    assert key_of(DOUBLE) != before[0]


@pytest.mark.parametrize(
    "flag",
    ["--iree-opt-import-parameters=w=weights.irpa", "--x=sub/file", "@flags", "--x=here.txt"],
)
def test_options_that_read_files_are_not_kept(
    flag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("here.txt").touch()
    assert not cache_key.key_of(inputs.load(DOUBLE), Options(flags=[flag]))[1]


def test_options_that_write_files_write_them_each_time(tmp_path: Path, folder: Path) -> None:
    for place in (tmp_path / "dump", tmp_path / "dump"):
        shutil.rmtree(place, ignore_errors=True)
        _, outcome = compile_cached(
            DOUBLE, flags=[f"--iree-hal-dump-executable-sources-to={place}"]
        )
        assert (outcome.hit, outcome.path) == (False, None)
        assert list(place.iterdir())
    assert entries(folder) == set()


def test_modules_that_name_object_files_are_not_kept() -> None:
    module = DOUBLE.replace(
        "-> tensor<4xf32> {",
        '-> tensor<4xf32> attributes {o = #hal.executable.object<{path = "f.o"}>} {',
    )
    assert not cache_key.key_of(inputs.load(module), Options())[1]
    assert cache_key.key_of(inputs.load(DOUBLE), Options())[1]
