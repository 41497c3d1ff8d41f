# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a model's dims must be: said at export, and held by the artifact whoever calls it."""

from __future__ import annotations

from pathlib import Path

import iree.runtime as ireert
import numpy as np
import pytest
import torch
from torch.export import Dim

from shark_turbine import aot, runtime
from shark_turbine.compiler import Vmfb
from shark_turbine.errors import DimensionError, TurbineError

from .families import FAMILIES, POSITIONS, TEXT, Size, text

BERT = next(family for family in FAMILIES if family.name == "bert")
VIT = next(family for family in FAMILIES if family.name == "vit")


@pytest.fixture(scope="module")
def bert() -> Vmfb:
    inputs = BERT.inputs(Size(2, 8))
    output = aot.export(BERT.model(), kwargs=inputs, dynamic_shapes=TEXT, strict_export=False)
    return output.compile()


def test_a_mask_of_another_length_is_refused(bert: Vmfb) -> None:
    ids, mask = BERT.inputs(Size(2, 8))["input_ids"], BERT.inputs(Size(2, 7))["attention_mask"]
    with pytest.raises(TurbineError, match=r"input_ids.*attention_mask|attention_mask.*input_ids"):
        runtime.load(bert).main(input_ids=ids, attention_mask=mask)


def test_stock_runtime_calls_it(bert: Vmfb) -> None:
    inputs = BERT.inputs(Size(3, 10))
    found = _stock(bert).main(**{key: value.numpy() for key, value in inputs.items()})
    with torch.no_grad():
        expected = BERT.model()(**inputs).last_hidden_state
    np.testing.assert_allclose(
        found["last_hidden_state"].to_host(), expected.numpy(), rtol=1e-4, atol=2e-5
    )


def test_stock_runtime_meets_the_contract(bert: Vmfb) -> None:
    ids = BERT.inputs(Size(2, 8))["input_ids"].numpy()
    mask = BERT.inputs(Size(2, 7))["attention_mask"].numpy()
    with pytest.raises(
        RuntimeError,
        match=r"main: input_ids\.shape\[1\] must equal attention_mask\.shape\[1\]",
    ):
        _stock(bert).main(input_ids=ids, attention_mask=mask)


def test_stock_runtime_meets_the_longest_length(bert: Vmfb) -> None:
    inputs = {key: value.numpy() for key, value in text("right")(Size(1, POSITIONS + 1)).items()}
    with pytest.raises(RuntimeError, match=rf"input_ids\.shape\[1\].*{POSITIONS}"):
        _stock(bert).main(**inputs)


def test_a_token_out_of_the_vocabulary_is_refused(bert: Vmfb) -> None:
    inputs = BERT.inputs(Size(2, 8))
    inputs["input_ids"][1, 3] = 4000
    with pytest.raises(TurbineError, match="index out of range"):
        runtime.load(bert).main(**inputs)


@pytest.mark.parametrize("strict", [True, False])
def test_a_length_without_a_limit(strict: bool) -> None:
    unlimited = {0: Dim("batch"), 1: Dim("length")}
    with pytest.raises(DimensionError) as caught:
        aot.export(
            BERT.model(),
            kwargs=BERT.inputs(Size(2, 8)),
            dynamic_shapes={"input_ids": unlimited, "attention_mask": unlimited},
            strict_export=strict,
        )
    message = str(caught.value)
    assert message.startswith("BertModel (")
    assert "modeling_bert.py" in message
    assert f"length <= {POSITIONS}" in message
    assert f"length = torch.export.Dim('length', max={POSITIONS})" in message


def test_a_size_that_the_model_fixes() -> None:
    with pytest.raises(DimensionError, match="side must be 32") as caught:
        aot.export(
            VIT.model(),
            kwargs=VIT.inputs(Size(2, 0)),
            dynamic_shapes={"pixel_values": {0: Dim("batch"), 2: Dim("side")}},
        )
    assert "leave side out of dynamic_shapes" in str(caught.value)


def test_a_dim_without_a_name_is_named_by_its_argument() -> None:
    every = {0: Dim.DYNAMIC, 2: Dim.DYNAMIC}
    with pytest.raises(DimensionError, match=r"pixel_values\.shape\[2\] must be 32"):
        aot.export(
            VIT.model(),
            kwargs=VIT.inputs(Size(2, 0)),
            dynamic_shapes={"pixel_values": every},
            strict_export=False,
        )


def test_the_artifact_says_what_it_takes(bert: Vmfb, tmp_path: Path) -> None:
    bert.save(tmp_path / "bert.vmfb")
    (function,) = Vmfb.open(tmp_path / "bert.vmfb").functions
    assert [argument.name for argument in function.arguments] == ["input_ids", "attention_mask"]
    assert any("input_ids.shape[1]" in contract for contract in function.contracts)


def _stock(vmfb: Vmfb) -> ireert.BoundModule:
    config = ireert.Config("local-sync")
    module = ireert.VmModule.wrap_buffer(config.vm_instance, vmfb.map_memory())
    return ireert.load_vm_module(module, config)
