# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The artifact: its manifest, its memory, its file."""

from __future__ import annotations

import ctypes
import json
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from shark_turbine.compiler import Vmfb, compile
from shark_turbine.errors import LoadError
from shark_turbine.signature import (
    Argument,
    FunctionSignature,
    Leaf,
    Parameter,
    ValueType,
)

SIGNATURE = FunctionSignature(
    name="sum",
    parameters=(Parameter("a", Leaf(0)),),
    arguments=(Argument("a", ValueType("f32", ("n", 4))),),
    result=Leaf(0),
    results=(ValueType("f32", ("n", 4)),),
    contracts=("sum: a.shape[0] must equal b.shape[0]",),
)

# The documented pattern: IREE's own compiler output crashes here when the interpreter exits.
DOCUMENTED = """
import gc
import iree.runtime as ireert
import numpy as np
from shark_turbine.compiler import compile

binary = compile(SUM)
config = ireert.Config("local-task")
vm_module = ireert.load_vm_module(
    ireert.VmModule.wrap_buffer(config.vm_instance, binary.map_memory()), config
)
del binary
gc.collect()
one = np.ones((2, 4), np.float32)
print(vm_module.sum(one, one, 1, 1.0)[0].to_host().sum())
"""


@pytest.fixture(scope="module")
def vmfb(sum_module: bytes) -> Vmfb:
    return compile(sum_module, signatures=[SIGNATURE], target_cpu="generic")


def test_manifest(vmfb: Vmfb, tmp_path: Path) -> None:
    assert vmfb.manifest["format"] == 1
    assert vmfb.manifest["producer"].startswith("shark_turbine ")
    assert set(vmfb.manifest["versions"]) == {"torch", "iree_compiler"}
    assert vmfb.manifest["module"] == "sums"
    assert vmfb.manifest["contracts_stripped"] is False
    assert vmfb.functions == (SIGNATURE,)
    assert vmfb.target["cpu"] == "generic"
    vmfb.save(tmp_path / "a.vmfb")
    with zipfile.ZipFile(tmp_path / "a.vmfb") as archive:
        assert archive.testzip() is None
        assert json.loads(archive.read("shark_turbine.json")) == vmfb.manifest
    assert Vmfb.open(tmp_path / "a.vmfb").functions == (SIGNATURE,)


def test_memory_is_aligned_and_read_only(vmfb: Vmfb, tmp_path: Path) -> None:
    vmfb.save(tmp_path / "a.vmfb")
    for each in (vmfb, Vmfb.open(tmp_path / "a.vmfb")):
        memory = each.map_memory()
        assert memory.readonly
        assert len(memory) == len(each) == each.size
        buffer = (ctypes.c_char * 64).from_buffer_copy(memory[:64])
        assert buffer.raw[:2] == b"PK"
        import numpy as np

        assert np.frombuffer(memory, np.uint8).ctypes.data % 64 == 0


def test_opened_file_may_change_afterwards(vmfb: Vmfb, tmp_path: Path) -> None:
    path = tmp_path / "a.vmfb"
    vmfb.save(path)
    opened = Vmfb.open(path)
    path.write_bytes(b"")
    assert bytes(opened) == bytes(vmfb)


def test_repr_and_path(sum_module: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.vmfb"
    vmfb = compile(sum_module, save_to=path, target_cpu="generic")
    assert vmfb.path == path
    assert repr(vmfb).startswith("<Vmfb @sums ")
    assert repr(vmfb).endswith(f"KiB generic {path}>")
    assert compile(sum_module).path is None


@pytest.mark.parametrize("content", [None, b""])
def test_nothing_to_open(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "a.vmfb").write_bytes(content)
    with pytest.raises(LoadError, match=r"a\.vmfb cannot be opened"):
        Vmfb.open(tmp_path / "a.vmfb")


def test_stock_tools_take_the_file(vmfb: Vmfb, tmp_path: Path) -> None:
    import iree.runtime._binding as binding

    folder = Path(binding.__file__).parent.parent / "_runtime_libs"
    vmfb.save(tmp_path / "a.vmfb")
    one = "--input=2x4xf32=1"
    command = [str(next(folder.glob("iree-run-module*"))), f"--module={tmp_path / 'a.vmfb'}"]
    result = subprocess.run(
        [*command, "--function=sum", one, one, "--input=1", "--input=1.5"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "2x4xf32=[3 3 3 3][3 3 3 3]" in result.stdout
    assert "f64=3" in result.stdout


def test_documented_pattern_exits_cleanly(python: Callable[[str], list[str]]) -> None:
    command = python(DOCUMENTED)
    running = [subprocess.Popen(command, stdout=-1, stderr=-1) for _ in range(4)]
    for process in running:
        output, errors = process.communicate(timeout=120)
        assert (process.returncode, output) == (0, b"24.0\n"), errors.decode()
