# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Attaching parameters: where they may come from, and what is refused, everything at once."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import iree.runtime as iree
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import shark_turbine.runtime as rt
from shark_turbine.checkpoints import open_checkpoint
from shark_turbine.errors import LoadError, ParameterError
from tests.runtime.conftest import F4, flat, tensor

W = torch.arange(64.0)
B = torch.tensor([1.0, 2.0, 3.0, 4.0])
I = torch.arange(4, dtype=torch.int32)  # noqa: E741
ALL = {"w": W, "b": B, "i": I}

MLIR = """module @m {
  util.global private @w = #flow.parameter.named<"SCOPE"::"w"> : tensor<64xf32>
  util.global private @b = #flow.parameter.named<"model"::"b"> : tensor<4xf32>
  util.global private @i = #flow.parameter.named<"model"::"i"> : tensor<4xi32>
  func.func @read() -> (tensor<64xf32>, tensor<4xf32>, tensor<4xi32>) {
    %0 = util.global.load @w : tensor<64xf32>
    %1 = util.global.load @b : tensor<4xf32>
    %2 = util.global.load @i : tensor<4xi32>
    return %0, %1, %2 : tensor<64xf32>, tensor<4xf32>, tensor<4xi32>
  }
}"""
READ = flat("read", {}, tensor("f32", 64), F4, tensor("i32", 4))


def entry(key: str, value: torch.Tensor, scope: str = "model", **more: Any) -> dict[str, Any]:
    return {
        "scope": scope,
        "key": key,
        "dtype": {torch.float32: "f32", torch.int32: "i32"}[value.dtype],
        "shape": list(value.shape),
        "nbytes": value.nbytes,
        "aliases": [],
        "hash": f"sha256-folded:{hashlib.sha256(value.numpy().tobytes()).hexdigest()}",
        **more,
    }


@pytest.fixture(scope="module")
def one(build: Callable[..., Path]) -> Path:
    """A module with one scope; `w` may also be called `tied`."""
    parameters = [entry("w", W, aliases=["tied"]), entry("b", B), entry("i", I)]
    return build(MLIR.replace("SCOPE", "model"), READ, parameters=parameters, stateful=False)


@pytest.fixture(scope="module")
def two(build: Callable[..., Path]) -> Path:
    """A module with two scopes."""
    parameters = [entry("w", W, "base"), entry("b", B), entry("i", I)]
    return build(MLIR.replace("SCOPE", "base"), READ, parameters=parameters, stateful=False)


def read(vmfb: Path, parameters: Any, **options: Any) -> None:
    """Attach, read everything back, and compare."""
    module = rt.load(vmfb, device="local-sync", parameters=parameters, **options)
    for found, expected in zip(module.read(), ALL.values(), strict=True):
        assert torch.equal(found, expected)


def refused(vmfb: Path, parameters: Any, **options: Any) -> ParameterError:
    with pytest.raises(ParameterError) as caught:
        rt.load(vmfb, device="local-sync", parameters=parameters, **options)
    return caught.value


def irpa(path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    index = iree.ParameterIndex()
    for key, value in tensors.items():
        iree.parameter_index_add_numpy_ndarray(index, key, value.numpy())
    index.create_archive_file(str(path))
    return path


def gguf(path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    header, body = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 0), b""
    for key, value in tensors.items():
        kind = {torch.float32: 0, torch.int32: 26}[value.dtype]
        header += struct.pack("<Q", len(key)) + key.encode() + struct.pack("<I", value.ndim)
        header += struct.pack(f"<{value.ndim}Q", *reversed(value.shape))
        header += struct.pack("<IQ", kind, len(body))
        body += value.numpy().tobytes() + bytes(-value.nbytes % 32)
    path.write_bytes(header + bytes(-len(header) % 32) + body)
    return path


def safetensors(path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    save_file(tensors, path)
    return path


class TestSources:
    @pytest.mark.parametrize("write", [safetensors, irpa, gguf])
    def test_a_file(self, write: Callable[..., Path], one: Path, tmp_path: Path) -> None:
        path = write(tmp_path / "w", ALL)
        read(one, path)
        read(one, {"model": str(path)}, strict=True)

    def test_files_under_any_name(self, one: Path, tmp_path: Path) -> None:
        tied = {"tied": W, "b": B, "i": I}
        read(one, safetensors(tmp_path / "w", tied), strict=True)
        read(one, {**tied, "other": B})

    def test_shards(self, one: Path, tmp_path: Path) -> None:
        names = {key: f"{key}.safetensors" for key in ALL}
        for key, name in names.items():
            safetensors(tmp_path / name, {key: ALL[key]})
        read(one, [tmp_path / name for name in names.values()])
        index = {"weight_map": names}
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
        read(one, tmp_path)

    def test_memory(self, one: Path) -> None:
        read(one, ALL)
        read(one, {key: value.numpy() for key, value in ALL.items()}, strict=True)
        strided = torch.stack([B, B], 1)[:, 0]
        read(one, {"model": {**ALL, "b": strided, "w": torch.nn.Parameter(W)}})

    def test_memory_may_be_let_go_of(self, one: Path) -> None:
        module = rt.load(
            one, device="local-sync", parameters={key: v.clone() for key, v in ALL.items()}
        )
        assert torch.equal(module.read()[0], W)

    @pytest.mark.parametrize("described", [True, False])
    def test_an_index(self, described: bool, one: Path, tmp_path: Path) -> None:
        index = iree.ParameterIndex()
        index.load(str(irpa(tmp_path / "w.irpa", {"tied": W, "b": B})))
        if described:
            iree.parameter_index_add_numpy_ndarray(index, "i", I.numpy())
        else:
            index.add_buffer("i", I.numpy().view(np.uint8))
        read(one, index)
        read(one, {"model": index}, strict=True)

    def test_several_scopes(self, two: Path, tmp_path: Path) -> None:
        base = safetensors(tmp_path / "base", {"w": W})
        read(two, {"base": base, "model": {"b": B, "i": I}})

    def test_a_vmfb_that_does_not_say_what_it_needs(
        self, build: Callable[..., Path], tmp_path: Path
    ) -> None:
        stock = build(MLIR.replace("SCOPE", "model"), READ, stateful=False)
        read(stock, safetensors(tmp_path / "w", ALL))
        read(stock, {"model": ALL})
        read(stock, {"model": rt.parameters_in_memory(ALL)})


class TestRefusals:
    def test_everything_at_once(self, one: Path) -> None:
        error = refused(one, {"bb": B, "i": I.to(torch.float32)[:3], "v": W})
        assert str(error).replace(str(one), "m.vmfb") == (
            "m.vmfb: the parameters do not fit the module: 3 tensors in memory\n"
            "  got:      missing: 'w' (or 'tied'), f32[64]\n"
            "            missing: 'b', f32[4]; did you mean 'bb'?\n"
            "            different: 'i' has another dtype and shape: f32[3], not i32[4]\n"
            "            superfluous: 'bb', 'v'\n"
            "  expected: what the vmfb was compiled for, tensor by tensor\n"
            "  fix:      attach the file that was saved with the vmfb, or the checkpoint it was "
            "exported from"
        )
        assert len(error.problems) == 4

    @pytest.mark.parametrize("write", [safetensors, irpa, None])
    def test_other_values(
        self, write: Callable[..., Path] | None, one: Path, tmp_path: Path
    ) -> None:
        other = {**ALL, "b": B + 1, "i": I + 1}
        source = other if write is None else write(tmp_path / "w", other)
        assert refused(one, source).problems == (
            "different: 'b' has other values than at export",
            "different: 'i' has other values than at export",
        )
        module = rt.load(one, device="local-sync", parameters=source, check_hashes=False)
        assert torch.equal(module.read()[1], B + 1)

    def test_other_values_in_an_index(self, one: Path, tmp_path: Path) -> None:
        index = iree.ParameterIndex()
        index.load(str(irpa(tmp_path / "w.irpa", {"w": W + 1, "i": I})))
        index.add_splat("b", np.array([2.0], np.float32), 16)
        assert len(refused(one, index).problems) == 2

    def test_another_length_where_no_dtype_is_known(self, one: Path) -> None:
        index = rt.parameters_in_memory({**ALL, "b": B[:2]})
        assert refused(one, index).problems == (
            "different: 'b' has another length: 8 bytes, not 16 (f32[4])",
        )

    def test_a_prefix(self, one: Path) -> None:
        problems = refused(one, {f"model.{key}": value for key, value in ALL.items()}).problems
        assert "the keys that are missing are there, with 'model.' before them" in problems

    @pytest.mark.parametrize("check_hashes", [True, False])
    def test_tied_weights_that_were_torn_apart(self, check_hashes: bool, one: Path) -> None:
        read(one, {**ALL, "tied": W.clone()}, check_hashes=check_hashes)
        error = refused(one, {**ALL, "tied": W + 1}, check_hashes=check_hashes)
        assert error.problems == (
            "different: 'w' and 'tied' are one tensor in the model, and two here",
        )

    def test_superfluous_is_no_mistake_unless_strict(self, one: Path) -> None:
        read(one, {**ALL, "more": B})
        error = refused(one, {**ALL, "more": B}, strict=True)
        assert error.problems == ("superfluous: 'more'",)
        assert error.fix == "leave strict=True out: parameters that nobody needs do no harm"

    def test_none(self, one: Path, two: Path) -> None:
        assert str(refused(one, None)).replace(str(one), "m.vmfb") == (
            "m.vmfb: the module needs parameters of 'model' that are not in it\n"
            "  got:      no parameters\n"
            "  expected: 3 tensors of 288 bytes: 'w', 'b', 'i'\n"
            "  fix:      load(vmfb, parameters=path of their file or folder)"
        )
        assert refused(two, {"model": ALL}).problems == ("missing: scope 'base'",)
        assert "the module has 2 scopes of parameters" in str(refused(two, ALL))

    def test_a_module_that_needs_none(self, build: Callable[..., Path]) -> None:
        mlir = (
            "module @m { func.func @read() -> i32 { %0 = arith.constant 1 : i32 return %0 : i32 } }"
        )
        inline = build(mlir, flat("read", {}, tensor("i32")), parameters=[])
        assert "its weights are inside" in str(refused(inline, ALL))

    @pytest.mark.parametrize("parameters", [3, [], {"model": [1]}, {"model": None}])
    def test_what_holds_no_parameters(self, parameters: Any, one: Path) -> None:
        assert "parameters cannot come from this" in str(refused(one, parameters))

    @pytest.mark.parametrize("write", [safetensors, irpa, gguf])
    def test_a_file_that_was_cut_short(
        self, write: Callable[..., Path], one: Path, tmp_path: Path
    ) -> None:
        path = write(tmp_path / "w", dict(reversed(ALL.items())))
        data = path.read_bytes()
        end = data.rindex(W.numpy().tobytes()) + W.nbytes
        path.write_bytes(data[: end - 1])
        assert "the parameter file is cut short or damaged" in str(refused(one, path))

    def test_a_manifest_that_cannot_be_understood(self, build: Callable[..., Path]) -> None:
        broken = build(MLIR.replace("SCOPE", "model"), READ, parameters=[{"key": "w"}])
        with pytest.raises(LoadError, match="manifest inside the vmfb cannot be understood"):
            rt.load(broken, parameters=ALL)


def test_parameters_that_lie_askew_are_read_and_the_others_mapped(
    one: Path, tmp_path: Path
) -> None:
    """What IREE cannot use where it is mapped is read: a copy of mapped memory would be twice."""
    path = safetensors(tmp_path / "w", {"a": torch.ones(1), **ALL})
    stored = open_checkpoint(path).tensors
    assert {key: stored[key].offset % 64 == 0 for key in ALL} == dict.fromkeys(ALL, False)
    module = rt.load(one, device="local-sync", parameters=path)
    path.unlink()
    for found, expected in zip(module.read(), ALL.values(), strict=True):
        assert torch.equal(found, expected)
