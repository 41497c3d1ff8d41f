# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A cache of the test's own, programs to put into it, and what scripts do first."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shark_turbine import cache_folder
from shark_turbine.compiler import (
    cache_key,
    inputs,
)
from shark_turbine.compiler.options import Options

DOUBLE = "func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {\n"
DOUBLE += "  %0 = arith.addf %x, %x : tensor<4xf32>\n  return %0 : tensor<4xf32>\n}"
SQUARE = DOUBLE.replace("addf", "mulf")
NEGATE = DOUBLE.replace("arith.addf %x, %x", "arith.negf %x")

# What every script does first; `no_tools()` makes the start of any process an error.
PRELUDE = """
import os, signal, subprocess, sys, time
from pathlib import Path
from shark_turbine import cache_folder
from shark_turbine.cache_folder import remember
from shark_turbine.compiler import cache, cache_key, compile_cached

def no_tools():
    def refuse(*arguments, **options):
        raise AssertionError("a process starts")
    os.environ["SHARK_TURBINE_COMPILE_WORKER"] = "0"
    subprocess.Popen = os.fork = os.posix_spawn = refuse
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own; child processes inherit it."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("SHARK_TURBINE_CACHE_DIR", str(folder))
    monkeypatch.delenv("SHARK_TURBINE_CACHE", raising=False)
    monkeypatch.delenv("SHARK_TURBINE_CACHE_SIZE", raising=False)
    monkeypatch.setattr(cache_folder, "_warned", set())
    monkeypatch.setattr(cache_folder, "_unwritten", {})
    return folder


@pytest.fixture
def forbid_tools(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("a process starts")

    # The worker needs none.
    monkeypatch.setenv("SHARK_TURBINE_COMPILE_WORKER", "0")
    return lambda: monkeypatch.setattr(subprocess, "Popen", refuse)


def entries(folder: Path) -> set[str]:
    return {path.name for path in (folder / "vmfb").glob("*")}


def key_of(module: Any, **options: Any) -> str:
    return cache_key.key_of(inputs.load(module), Options(**options))[0]
