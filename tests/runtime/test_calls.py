# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Calls that work: values, dtypes, structures, and whose memory is whose."""

from __future__ import annotations

import gc
import json
import shutil
import threading
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

import shark_turbine.runtime as rt
from shark_turbine import dtypes
from shark_turbine.runtime import LoadedModule
from shark_turbine.signature import (
    Argument,
    FunctionSignature,
    Leaf,
    Parameter,
    SequenceTree,
    ValueType,
)

A = torch.tensor([1.0, 2.0, 3.0, 4.0])
B = torch.tensor([10.0, 20.0, 30.0, 40.0])


def rewrite_manifest(source: Path, target: Path, **more: object) -> None:
    """Copy a vmfb with another manifest. IREE finds its own part at the front."""
    with zipfile.ZipFile(source) as archive:
        manifest = json.loads(archive.read("shark_turbine.json"))
    shutil.copy(source, target)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile remarks that the name is there twice
        with zipfile.ZipFile(target, "a") as archive:
            archive.writestr("shark_turbine.json", json.dumps({**manifest, **more}))


def address(value: Any) -> int:
    return value.data_ptr() if isinstance(value, torch.Tensor) else value.ctypes.data


class TestResults:
    def test_torch_in_torch_out(self, basic: LoadedModule) -> None:
        result = basic.add(A, B)
        assert isinstance(result, torch.Tensor)
        torch.testing.assert_close(result, A + B, rtol=0, atol=0)

    def test_numpy_in_numpy_out(self, basic: LoadedModule) -> None:
        result = basic["add"](A.numpy(), B.numpy())
        assert isinstance(result, np.ndarray)
        np.testing.assert_array_equal(result, (A + B).numpy())

    def test_one_tensor_among_arrays_makes_the_results_tensors(self, basic: LoadedModule) -> None:
        assert isinstance(basic.add(A.numpy(), B), torch.Tensor)

    def test_without_tensor_arguments_results_are_tensors(self, basic: LoadedModule) -> None:
        assert isinstance(basic.constant(), torch.Tensor)

    def test_nothing(self, basic: LoadedModule) -> None:
        before = basic.get()
        assert basic.set(A) is None
        torch.testing.assert_close(basic.get(), A)
        basic.set(before)

    def test_structures_and_keywords(self, basic: LoadedModule) -> None:
        for arguments in (
            ((A, {"a": B, "n": None}),),
            ([A, {"n": None, "a": B}],),
        ):
            result = basic.tree(*arguments, scale=A)
            assert list(result) == ["sum", "parts", "none"]
            torch.testing.assert_close(result["sum"], A + B + A)
            torch.testing.assert_close(result["parts"][0], A + B)
            assert result["parts"][1] == 3
            assert type(result["parts"]) is list
            assert result["none"] is None
        repeated = basic.tree(x=(A, {"a": B, "n": None}), flag=True, mode=None, scale=A)
        torch.testing.assert_close(repeated["sum"], A + B + A)
        torch.testing.assert_close(basic.add(b=B, a=A), A + B)

    def test_scalars(self, basic: LoadedModule) -> None:
        result = basic.scalars(-3, 2**40, 1.5, 0.1, True, 2**64 - 1, 2.5)
        assert result[:6] == (-3, 2**40, 1.5, 0.1, True, 2**64 - 1)
        assert [type(value) for value in result] == [
            int,
            int,
            float,
            float,
            bool,
            int,
            torch.Tensor,
        ]
        assert result[6].shape == ()
        others = basic.scalars(
            np.int16(-3), torch.tensor(7), np.float32(1.5), 2, np.bool_(False), 0, np.float32(2.5)
        )
        assert others[:6] == (-3, 7, 1.5, 2.0, False, 0)

    def test_windows(self, basic: LoadedModule) -> None:
        assert basic.functions[:3] == ("add", "same", "update")
        assert str(basic.signature("rows")) == "rows(a: f32[n, 4], b: f32[n, 4]) -> f32[n, 4]"
        assert "\n    a.shape[0] must be < 8" in str(basic)
        assert repr(basic.add) == "<basic.add(a: f32[4], b: f32[4]) -> f32[4]>"
        assert "add" in dir(basic)
        assert next(iter(basic)) == "add"


class TestMemory:
    def test_arguments_are_left_alone(self, basic: LoadedModule) -> None:
        for value in (A.clone(), A.clone().numpy()):
            result = basic.update(value)
            assert result[0] == 9
            assert value[0] == 1

    def test_a_result_is_never_an_argument_nor_another_result(self, basic: LoadedModule) -> None:
        value = A.clone()
        first, second = basic.same(value)
        assert len({address(value), address(first), address(second)}) == 3
        first.zero_()
        torch.testing.assert_close(value, A)
        torch.testing.assert_close(second, A)

    def test_writing_to_results_reaches_no_state_and_no_constant(self, basic: LoadedModule) -> None:
        for get in (basic.get, basic.constant):
            before = get()
            get().fill_(77.0)
            torch.testing.assert_close(get(), before)

    def test_state_keeps_what_was_stored(self, basic: LoadedModule) -> None:
        before = basic.get()
        value = A.clone()
        basic.set(value)
        value.zero_()
        torch.testing.assert_close(basic.get(), A)
        basic.set(before)

    def test_results_outlive_the_module(self, basic_path: Path) -> None:
        module = rt.load(basic_path, device="local-sync")
        results = [module.add(A, B), module.constant(), module.add(A.numpy(), B.numpy())]
        del module
        gc.collect()
        for result, first in zip(results, (11, 1, 11), strict=True):
            assert result[0] == first
            result += 1

    def test_aligned_arguments_are_not_copied(self, shared_path: Path) -> None:
        """Without a copy a call of 64 MB in and 16 bytes out takes no 64 MB."""
        module = rt.load(shared_path, device="local-sync")
        borrowed: list[tuple[int, int]] = []
        inputs = __import__("iree.runtime").runtime.VmVariantList(1)
        module.add.packs[0](A, inputs, borrowed)
        assert borrowed == [(A.data_ptr(), A.data_ptr() + 16)]


class TestTensors:
    @pytest.mark.parametrize("size", [0, 1, 3])
    def test_dynamic_and_empty(self, basic: LoadedModule, size: int) -> None:
        value = torch.arange(size * 4.0).view(size, 4)
        result = basic.rows(value, value)
        assert result.shape == (size, 4)
        torch.testing.assert_close(result, value * 2)
        assert basic.rows(value.numpy(), value.numpy()).shape == (size, 4)

    def test_views(self, basic: LoadedModule) -> None:
        grid = torch.arange(32.0).view(4, 8)
        for value in (
            grid.t()[:3, :],
            grid[:3, ::2],
            grid.flatten()[1:13].view(3, 4),
            grid[:1, :4].expand(3, 4),
        ):
            torch.testing.assert_close(basic.rows(value, value), value * 2)
            array = value.numpy()
            np.testing.assert_array_equal(basic.rows(array, array), array * 2)

    def test_numpy_views(self, basic: LoadedModule) -> None:
        array = np.arange(16, dtype=np.float32).reshape(4, 4)
        frozen = array.copy()
        frozen.flags.writeable = False
        for value in (array[::-1], array[:, ::-1], array.T, np.asfortranarray(array), frozen):
            np.testing.assert_array_equal(basic.rows(value, value), value * 2)

    def test_gradients_parameters_and_negated_views(self, basic: LoadedModule) -> None:
        leaf = A.clone().requires_grad_()
        parameter = torch.nn.Parameter(A.clone())
        negated = torch.complex(A, -A).conj().imag
        assert negated.is_neg()
        for value in (leaf, leaf * 1, parameter, negated):
            result = basic.add(value, value)
            assert not result.requires_grad
            torch.testing.assert_close(result, A * 2)


def echo(row: dtypes.DType) -> tuple[str, FunctionSignature]:
    """Return MLIR and signature of `f_<dtype>(x) -> (x, x + x)` (x itself where nothing adds)."""
    kind = f"tensor<?x{row.mlir}>"
    operation = {"f": "arith.addf", "b": "arith.addf", "i": "arith.addi", "u": "arith.addi"}.get(
        "" if row.name == "bool" or row.name.startswith("f8") else row.name[0]
    )
    compute = f"{operation} %a, %a : {kind}" if operation else f"arith.select %t, %a, %a : {kind}"
    mlir = f"""func.func @f_{row.name}(%a: {kind}) -> ({kind}, {kind}) {{
      %t = arith.constant true
      %0 = {compute}
      return %a, %0 : {kind}, {kind}
    }}"""
    value = ValueType(row.name, ("n",))
    return mlir, FunctionSignature(
        f"f_{row.name}",
        (Parameter("x", Leaf(0)),),
        (Argument("x", value),),
        SequenceTree(tuple, (Leaf(0), Leaf(1))),
        (value, value),
    )


@pytest.fixture(scope="module", params=[False, True], ids=["copied", "shared"])
def echoes(request: pytest.FixtureRequest, build: Callable[..., Path]) -> LoadedModule:
    texts, signatures = zip(*map(echo, dtypes.TABLE), strict=True)
    path = build("\n".join(texts), *signatures)
    copy = path.with_suffix(".shared.vmfb")
    if request.param and not copy.exists():
        rewrite_manifest(path, copy, preserves_inputs=True)
    return rt.load(copy if request.param else path, device="local-sync")


@pytest.mark.parametrize("row", dtypes.TABLE, ids=str)
def test_every_dtype_comes_back(echoes: LoadedModule, row: dtypes.DType) -> None:
    function = echoes[f"f_{row.name}"]
    values = torch.tensor([0, 1, 2, 1, 0, 2]).to(row.torch)
    for given in (values, values[1:], values[::2]):
        same, computed = function(given)
        assert same.dtype is computed.dtype is row.torch
        assert same.view(torch.uint8).tolist() == given.contiguous().view(torch.uint8).tolist()
        assert computed.shape == given.shape
    array = np.array([0, 1, 2, 1]).astype(row.numpy)
    same, _ = function(array)
    assert same.dtype == row.numpy
    assert same.tobytes() == array.tobytes()


def test_conjugated_views(echoes: LoadedModule) -> None:
    value = torch.tensor([1 + 2j, 3 - 4j]).conj()
    assert value.is_conj()
    torch.testing.assert_close(echoes.f_complex64(value)[0], value.resolve_conj())


def test_numpy_bfloat16(echoes: LoadedModule) -> None:
    result = echoes.f_bf16(np.array([1.5, 2.0], ml_dtypes.bfloat16))[1]
    assert result.dtype == ml_dtypes.bfloat16
    assert result.tolist() == [3.0, 4.0]


@pytest.mark.parametrize("stateful", [False, None])
def test_threads(build: Callable[..., Path], stateful: bool | None) -> None:
    """Eight threads on one module: additions of a stateless one, a counter of a stateful one."""
    mlir = """module @counter {
      util.global private mutable @n = dense<0> : tensor<i64>
      func.func @bump(%by: tensor<i64>) -> tensor<i64> {
        %0 = util.global.load @n : tensor<i64>
        %1 = arith.addi %0, %by : tensor<i64>
        util.global.store %1, @n : tensor<i64>
        return %1 : tensor<i64>
      }
      func.func @double(%a: tensor<i64>) -> tensor<i64> {
        %0 = arith.addi %a, %a : tensor<i64>
        return %0 : tensor<i64>
      }
    }"""
    module = rt.load(
        build(mlir, **({} if stateful is None else {"stateful": stateful})), device="local-task"
    )
    assert (module.lock is None) is (stateful is False)
    wrong: list[object] = []

    def work(number: int) -> None:
        try:
            for turn in range(100):
                if module.double(torch.tensor(number + turn)).item() != 2 * (number + turn):
                    wrong.append((number, turn))
                if stateful is None:
                    module.bump(torch.tensor(1))
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    if stateful is None:
        assert module.bump(torch.tensor(0)).item() == 800
