# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`weights=`: a small vmfb, and its parameters in a file, in a checkpoint, or in memory."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import shark_turbine.aot as aot
import shark_turbine.runtime as rt
from shark_turbine.errors import ParameterError


class Net(torch.nn.Module):
    """Parameters, persistent buffers, one that is not, an unused parameter, and tied weights."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(10, 8)
        self.norm = torch.nn.BatchNorm1d(8)
        self.head = torch.nn.Linear(8, 10, bias=False)
        self.unused = torch.nn.Linear(3, 3)
        self.register_buffer("scale", torch.tensor(2.0))
        self.register_buffer("positions", torch.arange(8.0), persistent=False)
        self.head.weight = self.embed.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.embed(ids)) * self.scale + self.positions)


IDS = torch.tensor([3, 1, 4, 1, 5])
KEYS = [
    "embed.weight",
    "norm.weight",
    "norm.bias",
    "norm.running_mean",
    "norm.running_var",
    "scale",
]


@pytest.fixture(scope="module")
def net() -> Net:
    torch.manual_seed(0)
    net = Net().eval()
    torch.nn.init.uniform_(net.norm.running_mean)
    return net


@pytest.fixture(scope="module")
def exported(net: Net) -> aot.ExportOutput:
    return aot.export(net, IDS, weights="external")


@pytest.fixture(scope="module")
def vmfb(exported: aot.ExportOutput) -> Any:
    return exported.compile()


@pytest.fixture(scope="module")
def check(net: Net, vmfb: Any) -> Callable[..., None]:
    """Return a function that attaches parameters, runs, and compares with eager PyTorch."""

    def check(parameters: Any, artifact: Any = vmfb, **options: Any) -> None:
        module = rt.load(artifact, device="local-sync", parameters=parameters, **options)
        torch.testing.assert_close(module.main(IDS), net(IDS))

    return check


def test_the_program_and_the_manifest_name_each_weight_once(
    net: Net, exported: aot.ExportOutput, vmfb: Any
) -> None:
    program = str(aot.CompiledModule.get_program(exported.compiled_module))
    lines = [line.strip() for line in program.splitlines() if "global @" in line]
    assert lines[0] == "global @embed.weight: f32[10, 8] = external model::embed.weight"
    assert [line for line in lines if "external" not in line] == [
        "global @positions: f32[8] = inline"
    ]
    entries = vmfb.manifest["parameters"]
    assert sorted(entry["key"] for entry in entries) == sorted(KEYS)
    first = next(entry for entry in entries if entry["key"] == "embed.weight")
    digest = first.pop("hash")
    assert first == {
        "scope": "model",
        "key": "embed.weight",
        "dtype": "f32",
        "shape": [10, 8],
        "nbytes": 320,
        "aliases": ["head.weight"],
    }
    kind, _, hexadecimal = digest.partition(":")
    data = net.embed.weight.detach().numpy().tobytes()
    assert kind == "sha256-folded"
    assert hexadecimal == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("name", ["w.irpa", "w.safetensors"])
def test_a_file_of_ours(
    name: str, exported: aot.ExportOutput, check: Callable[..., None], tmp_path: Path
) -> None:
    path = tmp_path / name
    exported.save_parameters(path)
    assert sorted(key for key, _ in aot.ParameterArchive(path).items()) == sorted(KEYS)
    check(path)
    check(str(path), strict=True)
    check({"model": path})
    check([path])
    check(aot.ParameterArchive(path).index, strict=True)


def test_tensors_in_memory(net: Net, check: Callable[..., None]) -> None:
    state = net.state_dict()
    check(state)
    check({"model": state})
    check({key: value.numpy() for key, value in state.items()})
    # Tied weights go by either name.
    check({key: value for key, value in state.items() if key != "embed.weight"})
    check({**state, "norm.bias": torch.stack([state["norm.bias"]] * 2, 1)[:, 0]})


def test_the_models_own_checkpoint_under_either_name_of_a_tied_weight(
    net: Net, check: Callable[..., None], tmp_path: Path
) -> None:
    for left_out in ("embed.weight", "head.weight"):
        state = {key: value for key, value in net.state_dict().items() if key != left_out}
        save_file(state, tmp_path / "model.safetensors")
        check(tmp_path)


def test_stock_iree_takes_the_checkpoint(net: Net, tmp_path: Path) -> None:
    state = {key: value for key, value in net.state_dict().items() if key != "embed.weight"}
    checkpoint = tmp_path / "weights.safetensors"
    save_file(state, checkpoint)
    path = tmp_path / "net.vmfb"
    aot.export(net, IDS, weights=checkpoint).compile(save_to=path)
    command = [
        str(Path(sys.executable).parent / "iree-run-module"),
        f"--module={path}",
        f"--parameters=model={checkpoint}",
        "--function=main",
        f"--input=5xi64={','.join(map(str, IDS.tolist()))}",
        f"--output=@{tmp_path / 'out.npy'}",
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    np.testing.assert_allclose(
        np.load(tmp_path / "out.npy"), net(IDS).detach().numpy(), rtol=1e-5, atol=1e-5
    )


@pytest.fixture(scope="module")
def prefixed(net: Net, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint in which `model.` stands before every name."""
    path = tmp_path_factory.mktemp("checkpoint") / "model.safetensors"
    save_file({f"model.{key}": value.clone() for key, value in net.state_dict().items()}, path)
    return path


class TestCheckpoint:
    def test_a_prefix_is_found(self, net: Net, prefixed: Path, check: Callable[..., None]) -> None:
        output = aot.export(net, IDS, weights=prefixed)
        assert "external model::model.embed.weight" in str(
            aot.CompiledModule.get_program(output.compiled_module)
        )
        check(prefixed.parent, output.compile())

    def test_a_model_without_memory(self, tmp_path: Path) -> None:
        model, x = torch.nn.Linear(4, 2), torch.rand(3, 4)
        path = tmp_path / "model.safetensors"
        save_file({f"model.{key}": value for key, value in model.state_dict().items()}, path)
        with torch.device("meta"):
            skeleton, shape = torch.nn.Linear(4, 2), torch.rand(3, 4)
        output = aot.export(skeleton, shape, weights=path, name_mapper=lambda name: f"model.{name}")
        vmfb = output.compile()
        assert all(entry["hash"] for entry in vmfb.manifest["parameters"])
        output.save_parameters(tmp_path / "copy.irpa")
        for source in (path, tmp_path / "copy.irpa"):
            module = rt.load(vmfb, device="local-sync", parameters=source, strict=True)
            torch.testing.assert_close(module.main(x), model(x))

    def test_a_prefix_that_the_checkpoint_lacks(self, net: Net, tmp_path: Path) -> None:
        path = tmp_path / "model.safetensors"
        save_file({key: value.clone() for key, value in net.state_dict().items()}, path)
        wrapped = torch.nn.Sequential(net)
        output = aot.export(wrapped, IDS, weights=path)
        assert "= external model::embed.weight" in str(
            aot.CompiledModule.get_program(output.compiled_module)
        )

    def test_two_prefixes(self, net: Net, tmp_path: Path) -> None:
        path = tmp_path / "model.safetensors"
        state = net.state_dict().items()
        save_file({f"{p}.{key}": value.clone() for key, value in state for p in "ab"}, path)
        with pytest.raises(ParameterError, match="under different prefixes") as caught:
            aot.export(net, IDS, weights=path)
        assert caught.value.problems == ("'a.' before every name", "'b.' before every name")

    def test_all_that_does_not_fit_is_said_at_once(self, net: Net, tmp_path: Path) -> None:
        state = {key: value.clone() for key, value in net.state_dict().items()}
        del state["head.weight"]
        state["embedding.weight"] = state.pop("embed.weight")
        state["norm.bias"] = state["norm.bias"].half()
        state["norm.weight"] = torch.ones(9)
        path = tmp_path / "model.safetensors"
        save_file(state, path)
        with pytest.raises(ParameterError) as caught:
            aot.export(net, IDS, weights=path)
        assert str(caught.value).replace(str(path), "PATH") == (
            "aot.export(weights='PATH'): the checkpoint does not hold the weights of the model\n"
            "  got:      missing: 'embed.weight' (or 'head.weight'), f32[10, 8]; did you mean "
            "'embedding.weight'?\n"
            "            different: 'norm.weight' has another shape: f32[9], not f32[8]\n"
            "            different: 'norm.bias' has another dtype: f16[8], not f32[8]\n"
            "  expected: 6 tensors under the names, and of the dtypes and shapes, that the model has\n"
            "  fix:      name_mapper=lambda name: ... gives the checkpoint's key of a parameter"
        )

    def test_tied_weights_that_the_checkpoint_has_apart(self, net: Net, tmp_path: Path) -> None:
        path = tmp_path / "model.safetensors"
        state = {key: value.clone() for key, value in net.state_dict().items()}
        save_file({**state, "head.weight": state["head.weight"] + 1}, path)
        with pytest.raises(ParameterError, match=r"'head\.weight' are one tensor in the model"):
            aot.export(net, IDS, weights=path)

    def test_a_checkpoint_in_half_precision(self, net: Net, tmp_path: Path) -> None:
        path = tmp_path / "model.safetensors"
        state = {key: value.bfloat16().clone() for key, value in net.state_dict().items()}
        save_file(state, path)
        with pytest.raises(ParameterError, match=r"fix: +model.to\(torch.bfloat16\)"):
            aot.export(net, IDS, weights=path)


def test_a_vmfb_without_hashes_takes_other_weights(
    net: Net, exported: aot.ExportOutput, vmfb: Any
) -> None:
    other = {key: value + 1 for key, value in net.state_dict().items()}
    with pytest.raises(ParameterError, match="has other values than at export"):
        rt.load(vmfb, parameters=other)
    unhashed = exported.compile(hash_parameters=False)
    assert {entry["hash"] for entry in unhashed.manifest["parameters"]} == {None}
    shifted = Net().eval()
    shifted.load_state_dict(other)
    for module in (
        rt.load(unhashed, parameters=other),
        rt.load(vmfb, parameters=other, check_hashes=False),
    ):
        torch.testing.assert_close(module.main(IDS), shifted(IDS))


@pytest.mark.filterwarnings("ignore::shark_turbine.errors.TrainingModeWarning")
def test_buffers_that_are_written_start_from_the_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = torch.nn.BatchNorm1d(4)
    x = torch.rand(8, 4) + 3
    output = aot.export(model, x, weights="external")
    output.save_parameters(tmp_path / "w.safetensors")
    vmfb = output.compile()
    assert set(load_file(tmp_path / "w.safetensors")) == set(model.state_dict())
    for _ in range(2):  # The file does not change.
        module = rt.load(vmfb, device="local-sync", parameters=tmp_path / "w.safetensors")
        twin = torch.nn.BatchNorm1d(4)
        for _ in range(2):
            torch.testing.assert_close(module.main(x), twin(x))


def test_an_exported_program_and_a_function(tmp_path: Path) -> None:
    model = torch.nn.Linear(4, 2)
    x = torch.rand(3, 4)

    def double(x: torch.Tensor) -> torch.Tensor:
        return model(x) * 2

    for exported, factor in ((torch.export.export(model, (x,)), 1), (double, 2)):
        arguments = (x,) if exported is double else ()
        vmfb = aot.export(exported, *arguments, weights="external").compile()
        assert [entry["key"] for entry in vmfb.manifest["parameters"]] == ["weight", "bias"]
        module = rt.load(vmfb, device="local-sync", parameters=model.state_dict())
        torch.testing.assert_close(module.main(x), model(x) * factor)


@torch._dynamo.assume_constant_result
def total_at_export(values: torch.Tensor) -> float:
    return float(values.add_(1).sum())


def test_tracing_leaves_the_buffers_alone_that_it_is_lent() -> None:
    class Counter(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", torch.ones(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            # TorchDynamo calls it with real values while it traces.
            return x * total_at_export(self.count)

    counter = Counter()
    module = rt.load(aot.export(counter, torch.ones(3)).compile(), device="local-sync")
    assert counter.count.tolist() == [1, 1, 1]
    assert module.main(torch.ones(3)).tolist() == [6, 6, 6]
