# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What an import costs and drags in, measured in fresh interpreters."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "iree", "numpy", "transformers")


def run_python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120
    ).stdout


def test_importing_the_package_takes_less_than_200_ms() -> None:
    code = (
        "import time; start = time.perf_counter(); import shark_turbine; "
        "print(time.perf_counter() - start)"
    )
    assert min(float(run_python(code)) for _ in range(3)) < 0.2


@pytest.mark.parametrize(
    "module",
    ["shark_turbine", "shark_turbine.cli", "shark_turbine.errors", "shark_turbine.signature"],
)
def test_the_pure_modules_import_no_heavy_library(module: str) -> None:
    code = f"import sys, {module}; print(*(name for name in {HEAVY} if name in sys.modules))"
    assert run_python(code).split() == []


# Each room, imported where the libraries that it must not need are not there.
@pytest.mark.parametrize(
    ("room", "missing"),
    [
        ("shark_turbine.aot.spec", "iree"),
        ("shark_turbine.aot.program", "iree"),
        ("shark_turbine.aot.declare", "iree"),
        ("shark_turbine.aot.trace", "iree"),
        ("shark_turbine.aot", "iree.runtime"),
        ("shark_turbine.compiler", "iree.runtime"),
        ("shark_turbine.runtime", "iree.compiler"),
    ],
)
def test_rooms_import_without_what_they_must_not_know(room: str, missing: str) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None; import importlib; "
        f"print(importlib.import_module({room!r}).__name__)"
    )
    assert run_python(code).strip() == room


def test_a_function_is_not_hidden_by_the_package_that_holds_it() -> None:
    code = "from shark_turbine import aot; aot.Quantized; print(callable(aot.quantize))"
    assert run_python(code).strip() == "True"
