# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What can be loaded, and what is refused before IREE sees it."""

from __future__ import annotations

import json
import os
import random
import struct
import subprocess
import sys
import textwrap
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import shark_turbine.runtime as rt
from shark_turbine.errors import LoadError
from shark_turbine.runtime import devices, reflection
from shark_turbine.runtime.devices import drivers

A = torch.tensor([1.0, 2.0, 3.0, 4.0])


def refused(source: object, path: Path | None = None) -> str:
    with pytest.raises(LoadError) as caught:
        rt.load(source, device="local-sync")  # type: ignore[arg-type]
    return str(caught.value).replace(str(path or source), "m.vmfb")


class Vmfb:
    """What the compiler room gives: read-only memory behind a method."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def map_memory(self) -> memoryview:
        return memoryview(self._content)


class TestSources:
    def test_all_of_them(self, basic_path: Path) -> None:
        content = basic_path.read_bytes()
        sources = (
            str(basic_path),
            basic_path,
            content,
            bytearray(content),
            memoryview(content),
            Vmfb(content),
        )
        for source in sources:
            assert rt.load(source, device="local-sync").add(A, A).tolist() == [2, 4, 6, 8]

    def test_the_file_may_change_afterwards(self, basic_path: Path, tmp_path: Path) -> None:
        path = tmp_path / "m.vmfb"
        path.write_bytes(basic_path.read_bytes())
        module = rt.load(path, device="local-sync")
        os.truncate(path, 10)
        assert module.add(A, A).tolist() == [2, 4, 6, 8]
        path.write_bytes(b"\0" * 100_000)
        assert module.constant().tolist() == [1, 2, 3, 4]
        path.unlink()
        assert module.add(A, A).tolist() == [2, 4, 6, 8]

    def test_bytes_may_change_afterwards(self, basic_path: Path) -> None:
        content = bytearray(basic_path.read_bytes())
        module = rt.load(content, device="local-sync")
        content[:] = b"\0" * len(content)
        assert module.add(A, A).tolist() == [2, 4, 6, 8]

    def test_devices_are_shared(self, basic_path: Path) -> None:
        first, second = (rt.load(basic_path, device="local-sync") for _ in range(2))
        assert first.device is second.device
        assert rt.load(basic_path).device.uri == "local-task"
        first.set(A)
        assert second.get().tolist() == [1, 1, 1, 1]


class TestStockFiles:
    MLIR = """module @stock {
      func.func @f(%a: tensor<?x4xf32> {iree.abi.name = "rows"}, %i: i64)
          -> (tensor<?x4xf32>, i64) { return %a, %i : tensor<?x4xf32>, i64 }
      func.func @g(%a: tensor<4xi8> {iree.abi.encoding = tensor<4xui8>}) {
        util.optimization_barrier %a : tensor<4xi8>
        return
      }
    }"""

    def test_signatures_by_reflection(self, build: Callable[..., Path]) -> None:
        module = rt.load(build(self.MLIR), device="local-sync")
        assert [str(module.signature(name)) for name in module.functions] == [
            "f(rows: f32[?0, 4], input1: i64) -> (f32[?1, 4], i64)",
            "g(input0: u8[4]) -> None",
        ]
        tensor, number = module.f(torch.ones(2, 4), input1=7)
        assert (tensor.shape, number) == ((2, 4), 7)
        assert module.g(torch.ones(4, dtype=torch.uint8)) is None

    @pytest.mark.parametrize(
        ("declaration", "expected"),
        [
            ("sync func @f() -> ()", "f() -> None"),
            (
                "sync func @f(%input0: tensor<f32>, %x: tensor<2x?xcomplex<f32>>) -> (%o: tensor<0xi1>)",
                "f(input0: f32[], x: complex64[2, ?0]) -> bool[0]",
            ),
            ("async func @f(%input0: f64) -> (%output0: f64)", "f(input0: f64) -> f64"),
            ("sync func @f(%input0: !hal.buffer) -> ()", "None"),
            ("sync func @f(%input0: tensor<4xi4>) -> ()", "None"),
            ("", "None"),
        ],
    )
    def test_declarations(self, declaration: str, expected: str) -> None:
        assert str(reflection.signature("f", declaration)) == expected


class TestParameters:
    MLIR = """module @m {
      util.global private @w = #flow.parameter.named<"model"::"w"> : tensor<4xf32>
      func.func @f(%a: tensor<4xf32>) -> tensor<4xf32> {
        %w = util.global.load @w : tensor<4xf32>
        %0 = arith.addf %a, %w : tensor<4xf32>
        return %0 : tensor<4xf32>
      }
      func.func @weight() -> tensor<4xf32> {
        %w = util.global.load @w : tensor<4xf32>
        return %w : tensor<4xf32>
      }
    }"""

    def test_from_a_file(self, build: Callable[..., Path], tmp_path: Path) -> None:
        weights = tmp_path / "w.safetensors"
        save_file({"w": A * 10}, weights)
        path = build(self.MLIR)
        module = rt.load(path, device="local-sync", parameters={"model": weights})
        assert module.f(A).tolist() == [11, 22, 33, 44]
        module.weight().zero_()
        assert module.weight().tolist() == [10, 20, 30, 40]

    def test_missing(self, build: Callable[..., Path], tmp_path: Path) -> None:
        path = build(self.MLIR)
        assert "the module needs parameters from outside" in refused(path)
        save_file({"v": A}, tmp_path / "v.safetensors")
        for name, message in (
            ("v.safetensors", "the module needs parameters from outside"),
            ("none.safetensors", "the parameter file cannot be read"),
        ):
            with pytest.raises(LoadError, match=message):
                rt.load(path, device="local-sync", parameters={"model": tmp_path / name})


class TestRefusals:
    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            (
                b"",
                """
                m.vmfb: the vmfb is empty
                  got:      0 bytes
                  fix:      compile it again; the writer was interrupted
                """,
            ),
            (
                b"module @m {\n}\n",
                """
                m.vmfb: this is not a vmfb
                  got:      14 bytes that begin with 'module @m {\\n'
                  expected: a compiled artifact, as compile(save_to='model.vmfb') writes it
                  fix:      compile the module first and load what comes out
                """,
            ),
        ],
        ids=["empty", "text"],
    )
    def test_other_content(self, tmp_path: Path, content: bytes, expected: str) -> None:
        path = tmp_path / "m.vmfb"
        path.write_bytes(content)
        assert refused(path) == textwrap.dedent(expected).strip()
        assert refused(content).startswith("<bytes>: ")

    def test_no_file(self, tmp_path: Path) -> None:
        expected = """
        m.vmfb: the file cannot be read
          got:      No such file or directory
          expected: the path of a .vmfb file
        """
        assert refused(tmp_path / "none.vmfb") == textwrap.dedent(expected).strip()
        assert "Is a directory" in refused(tmp_path)

    def test_no_source(self) -> None:
        assert "load() takes a compiled vmfb, a path or bytes\n  got:      int" in refused(5)

    def test_another_zip(self, tmp_path: Path) -> None:
        path = tmp_path / "m.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("readme.txt", "hello")
        assert "this is not a vmfb\n  got:      a ZIP file of readme.txt" in refused(path)

    @pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
    def test_cut_short(self, basic_path: Path, tmp_path: Path, part: float) -> None:
        path = tmp_path / "m.vmfb"
        content = basic_path.read_bytes()
        path.write_bytes(content[: int(len(content) * part)])
        message = refused(path)
        assert message.startswith("m.vmfb: the vmfb is cut short or damaged\n  got:      ")
        assert message.endswith("fix:      copy it again from where it came, or compile it again")

    @pytest.mark.parametrize(
        ("manifest", "message"),
        [
            ({"format": 2}, "another version of shark_turbine\n  got:      manifest format 2"),
            (
                {"format": 1, "functions": [{"name": "f"}]},
                "the manifest inside the vmfb cannot be understood\n  got:      KeyError: 'parameters'",
            ),
            ([], "another version of shark_turbine\n  got:      manifest format []"),
        ],
    )
    def test_manifests(
        self, build: Callable[..., Path], tmp_path: Path, manifest: object, message: str
    ) -> None:
        path = tmp_path / "m.vmfb"
        path.write_bytes(build(TestStockFiles.MLIR).read_bytes())
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("shark_turbine.json", json.dumps(manifest))
        assert message in refused(path)

    def test_no_such_device(self, basic_path: Path) -> None:
        with pytest.raises(LoadError, match=r"there is no such device\n  got:      device='gpu'"):
            rt.load(basic_path, device="gpu")

    def test_another_bytecode_version(self, basic_path: Path, tmp_path: Path) -> None:
        """IREE's own check of its versions, behind intact checksums."""
        path = tmp_path / "m.vmfb"
        with_version(basic_path, path, {"iree_compiler": "3.1.0"})
        message = refused(path)
        assert message.startswith("m.vmfb: the vmfb was compiled for another version of IREE\n")
        assert "got:      compiled with iree-base-compiler 3.1.0" in message
        assert "python -m pip install 'iree-base-runtime==3.1.0'" in message

    def test_no_code_for_the_device(self, build: Callable[..., Path], tmp_path: Path) -> None:
        message = refused(build("func.func @f(%a: tensor<4xf32>) -> tensor<4xf32> {\n"
            "%0 = arith.addf %a, %a : tensor<4xf32>\n return %0 : tensor<4xf32> }",
            compiler_flags=["--iree-llvmcpu-target-triple=aarch64-linux-gnu"]))  # fmt: skip
        assert "the vmfb holds no code for this machine or device" in message
        assert "got:      embedded-elf-arm_64" in message
        assert len(message.splitlines()) == 4

    @pytest.mark.parametrize("device", ["cuda", "vulkan"])
    def test_code_for_a_gpu(self, device: str, build: Callable[..., Path], tmp_path: Path) -> None:
        backends = {"cuda": "cuda", "vulkan": "vulkan-spirv"}
        message = refused(build("func.func @f(%a: tensor<4xf32>) -> tensor<4xf32> {\n"
            "%0 = arith.addf %a, %a : tensor<4xf32>\n return %0 : tensor<4xf32> }",
            backend=backends[device]))  # fmt: skip
        assert f"  got:      code for {device}\n" in message
        assert message.endswith(
            "  fix:      compile it for this CPU, without target=; or run it where the GPU is: "
            f'iree.runtime.Config("{device}") in Python, or iree-run-module --device={device}'
        )
        # The runtime has a driver of the name that we tell, with or without such a GPU.
        assert device in drivers()

    def test_a_gpu_that_is_not_there(
        self, basic_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(uri: str) -> None:
            raise RuntimeError(f"no {uri}")

        monkeypatch.setattr(devices.iree, "get_device", fail)
        with pytest.raises(LoadError, match=r"fix: +run it where the GPU is: iree\.runtime\."):
            rt.load(basic_path, device="cuda")


def with_version(source: Path, target: Path, versions: dict[str, str]) -> None:
    """Copy a vmfb with another bytecode version in it, checksums right."""
    with zipfile.ZipFile(source) as archive:
        old = archive.read("module.fb")
        manifest = json.loads(archive.read("shark_turbine.json"))
    new = bytearray(old)
    root_offset = new.index(b"IREE") - 4
    root = root_offset + struct.unpack_from("<I", new, root_offset)[0]
    table = root - struct.unpack_from("<i", new, root)[0]
    field = struct.unpack_from("<H", new, table + 4 + 2 * 13)[0]  # the version is field 13
    assert struct.unpack_from("<H", new, root + field) == (0,)
    struct.pack_into("<I", new, root + field, 99 << 16)
    content = source.read_bytes().replace(old, bytes(new))
    before, after = (struct.pack("<I", zlib.crc32(data)) for data in (old, new))
    target.write_bytes(content.replace(before, after))
    with warnings.catch_warnings(), zipfile.ZipFile(target, "a") as archive:
        warnings.simplefilter("ignore")  # zipfile remarks that the name is there twice
        archive.writestr("shark_turbine.json", json.dumps({**manifest, "versions": versions}))


LOADER = """
import sys
import shark_turbine.runtime as rt
from shark_turbine.errors import LoadError
content = bytearray(open(sys.argv[1], "rb").read())
for bit in map(int, sys.argv[2].split(",")):
    content[bit // 8] ^= 1 << bit % 8
    try:
        rt.load(content, device="local-sync")
    except LoadError as error:
        assert len(str(error)) < 400, error
    else:
        print(bit)
    content[bit // 8] ^= 1 << bit % 8
"""


def test_flipped_bits_are_refused(build: Callable[..., Path]) -> None:
    """Sixty single flips anywhere in what IREE reads, in a child process that must not crash."""
    path = build(TestStockFiles.MLIR)
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    content = path.read_bytes()
    chooser = random.Random(4)
    bits: list[int] = []
    for _ in range(60):
        entry = chooser.choice(entries)
        name, extra = struct.unpack_from("<HH", content, entry.header_offset + 26)
        start = entry.header_offset + 30 + name + extra
        bits.append(chooser.randrange(start * 8, (start + entry.file_size) * 8))
    child = subprocess.run(
        [sys.executable, "-c", LOADER, str(path), ",".join(map(str, bits))],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (child.returncode, child.stdout, child.stderr) == (0, "", "")
