# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Parameter archives as users of iree-turbine know them, and the trait that makes tensors external."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import iree.runtime as iree
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import shark_turbine.aot as aot
import shark_turbine.runtime as rt
from shark_turbine.errors import ParameterError, SaveError


class SimpleParams(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.classifier = torch.nn.Linear(5, 3)
        self.twin = torch.nn.Linear(5, 3, bias=False)
        self.twin.weight = self.classifier.weight
        self.register_buffer("steps", torch.tensor(7))
        self.register_buffer("scratch", torch.zeros(100), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(x) + self.twin(x) * self.steps


X = torch.arange(10.0).reshape(2, 5) / 10


@pytest.fixture
def model() -> SimpleParams:
    torch.manual_seed(0)
    return SimpleParams()


@pytest.mark.parametrize("name", ["w.irpa", "w.safetensors"])
@pytest.mark.parametrize("mmap", [True, False])
def test_a_module_there_and_back(
    name: str, mmap: bool, model: SimpleParams, tmp_path: Path
) -> None:
    path = tmp_path / name
    aot.save_module_parameters(path, model, prefix="model")
    items = dict(aot.ParameterArchive(path, mmap=mmap).items())
    assert set(items) == {"model.classifier.weight", "model.classifier.bias", "model.steps"}
    for key, entry in items.items():
        tensor, expected = entry.as_tensor(), model.state_dict()[key.removeprefix("model.")]
        assert entry.key == entry.raw.key == key
        assert tensor.dtype == expected.dtype
        assert torch.equal(tensor, expected)
        assert entry.as_flat_tensor().tolist() == list(expected.numpy().tobytes())
        tensor.zero_()  # Private memory: the file stays.
    again = dict(aot.ParameterArchive(path).items())["model.steps"]
    assert again.as_tensor().item() == 7


def test_builder_and_archive_by_hand(tmp_path: Path) -> None:
    builder = aot.ParameterArchiveBuilder()
    builder.add_tensor("transposed", torch.arange(6.0).reshape(2, 3).T)
    builder.add_tensor("none", torch.empty(0, 2))
    builder.add_blob("blob", b"any bytes")
    builder.save(tmp_path / "archive")
    archive = aot.ParameterArchive()
    archive.load(tmp_path / "archive.irpa")
    items = dict(archive.items())
    assert items["transposed"].as_tensor().tolist() == [[0, 3], [1, 4], [2, 5]]
    assert items["none"].as_tensor().shape == (0, 2)
    assert bytes(items["blob"].as_flat_tensor().tolist()) == b"any bytes"
    assert "blob" in repr(archive)
    assert repr(items["blob"]) == "ParameterArchiveEntry('blob', 9 bytes)"
    with pytest.raises(ParameterError, match="the archive has these keys already"):
        archive.load(tmp_path / "archive.irpa")


def test_an_archive_of_ours_is_read_by_irees_own_functions(tmp_path: Path) -> None:
    builder = aot.ParameterArchiveBuilder()
    weight = torch.arange(6, dtype=torch.float16).reshape(2, 3)
    builder.add_tensor("weight", weight)
    builder.save(tmp_path / "a.irpa")
    index = iree.ParameterIndex()
    index.load(str(tmp_path / "a.irpa"))
    array = iree.parameter_index_entry_as_numpy_ndarray(index.items()[0][1])
    assert array.dtype.name == "float16"
    assert array.astype(np.float32).tolist() == weight.float().tolist()


def test_splats_and_tensors_at_odd_places(tmp_path: Path) -> None:
    index = iree.ParameterIndex()
    index.add_splat("splat", np.array([2.5], np.float32), 12, metadata=None)
    index.create_archive_file(str(tmp_path / "a.irpa"))
    ((_, entry),) = aot.ParameterArchive(tmp_path / "a.irpa").items()
    assert entry.as_flat_tensor().view(torch.float32).tolist() == [2.5] * 3
    save_file(
        {"a": torch.ones(1, dtype=torch.int8), "b": torch.ones(2)}, tmp_path / "b.safetensors"
    )
    items = dict(aot.ParameterArchive(tmp_path / "b.safetensors").items())
    assert items["b"].as_tensor().tolist() == [1, 1]


def test_a_file_is_replaced_whole_or_not_at_all(
    model: SimpleParams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "w.irpa"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(SaveError, match="No space left"):
            aot.save_module_parameters(path, model)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(SaveError, match="does not exist"):
        aot.save_module_parameters(tmp_path / "none" / "w.irpa", model)
    aot.save_module_parameters(path, model)
    assert len(aot.ParameterArchive(path).items()) == 3


class TestTrait:
    def test_a_model_whose_parameters_are_marked(self, model: SimpleParams, tmp_path: Path) -> None:
        expected = model(X)
        aot.externalize_module_parameters(model, external_scope="base", prefix="net")
        trait = aot.ExternalTensorTrait.get(model.twin.weight)
        assert trait == aot.ExternalTensorTrait("base", "net.classifier.weight")
        assert aot.ExternalTensorTrait.get(model.scratch) is None
        aot.save_module_parameters(tmp_path / "w.irpa", model, prefix="net")

        class MarkedModule(aot.CompiledModule):
            params = aot.export_parameters(model)
            buffers = aot.export_buffers(model)
            forward = aot.jittable(model.forward)

            def main(self, x=aot.AbstractTensor(2, 5)):
                return self.forward(x)

        for output in (aot.export(model, X), aot.export(MarkedModule)):
            vmfb = output.compile()
            places = {(entry["scope"], entry["key"]) for entry in vmfb.manifest["parameters"]}
            keys = ("classifier.weight", "classifier.bias", "steps")
            assert places == {("base", f"net.{key}") for key in keys}
            module = rt.load(vmfb, device="local-sync", parameters={"base": tmp_path / "w.irpa"})
            torch.testing.assert_close(module.main(X), expected)

    def test_no_scope(self, tmp_path: Path) -> None:
        model = torch.nn.Linear(5, 3)
        aot.externalize_module_parameters(model)
        output = aot.export(model, X)
        assert '#flow.parameter.named<"weight">' in str(output.mlir_module)
        output.save_parameters(tmp_path / "w.safetensors")
        assert set(load_file(tmp_path / "w.safetensors")) == {"weight", "bias"}
        vmfb = output.compile()
        for parameters in (tmp_path / "w.safetensors", {"": model.state_dict()}):
            module = rt.load(vmfb, device="local-sync", parameters=parameters)
            torch.testing.assert_close(module.main(X), model(X))

    def test_what_the_declaration_says_goes_before_it(self) -> None:
        weight = torch.ones(2)
        aot.ExternalTensorTrait("scope", "name").set(weight)
        text = {}
        for label, options in (
            ("marked", {}),
            ("external", {"external": True}),
            ("named", {"external": True, "external_scope": "other"}),
            ("inline", {"external": False}),
        ):

            class Holder(aot.CompiledModule):
                value = aot.export_global(weight, **options)

            text[label] = str(Holder._spec)
        assert "= external scope::name" in text["marked"]
        assert "= external scope::name" in text["external"]
        assert "= external other::value.global" in text["named"]
        assert "= inline" in text["inline"]


def test_tied_weights_of_a_declaration_are_one_parameter_of_two_names(
    model: SimpleParams, tmp_path: Path
) -> None:
    class TiedModule(aot.CompiledModule):
        params = aot.export_parameters(
            model, external=True, name_mapper=lambda name: name.removeprefix("params.")
        )

        def weights(self):
            return self.params["classifier.weight"], self.params["twin.weight"]

    output = aot.export(TiedModule)
    vmfb = output.compile()
    aliases = {entry["key"]: entry["aliases"] for entry in vmfb.manifest["parameters"]}
    assert aliases == {"classifier.weight": ["twin.weight"], "classifier.bias": []}
    output.save_parameters(tmp_path / "w.safetensors")
    assert set(load_file(tmp_path / "w.safetensors")) == set(aliases)
    state = model.state_dict()
    del state["classifier.weight"]
    for parameters in (tmp_path / "w.safetensors", state):
        first, second = rt.load(vmfb, device="local-sync", parameters=parameters).weights()
        assert torch.equal(first, model.twin.weight)
        assert torch.equal(second, model.twin.weight)
