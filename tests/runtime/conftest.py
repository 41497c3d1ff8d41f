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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from shark_turbine.signature import FunctionSignature

IREE_COMPILE = shutil.which("iree-compile", path=str(Path(sys.executable).parent))


def build_vmfb(
    folder: Path,
    mlir: str,
    functions: Sequence[FunctionSignature] | None = None,
    **manifest: Any,
) -> Path:
    """Compile MLIR text; with `functions`, append the manifest that the compiler room writes."""
    key = hashlib.sha256(repr((mlir, functions, manifest)).encode()).hexdigest()[:16]
    path = folder / f"{key}.vmfb"
    if path.exists():
        return path
    command = [
        str(IREE_COMPILE),
        "-",
        "--iree-hal-target-backends=llvm-cpu",
        "--iree-llvmcpu-target-cpu=host",
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

    def compile_once(mlir: str, *functions: FunctionSignature, **manifest: Any) -> Path:
        return build_vmfb(folder, mlir, functions or None, **manifest)

    return compile_once
