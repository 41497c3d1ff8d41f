# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Every dtype of the table travels through a file: tensors, tensors without dims, and empty ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import shark_turbine.aot as aot
import shark_turbine.runtime as rt
from shark_turbine import dtypes

# The compiler crashes on a stored complex128; the error is a golden.
ROWS = [row for row in dtypes.TABLE if row.name != "complex128"]


def values_of(row: dtypes.DType) -> dict[str, torch.Tensor]:
    bits = (torch.arange(24 * row.size) % 120).to(torch.uint8)
    tensor = bits.view(row.torch) if row.torch is not torch.bool else bits % 3 == 0
    # No place in these files is a multiple of 64 but the first.
    tensor = tensor.reshape(2, 3, 4)
    return {"full": tensor, "scalar": tensor[1, 0, 2].clone(), "empty": tensor[:0].clone()}


@pytest.fixture(scope="module")
def output() -> aot.ExportOutput:
    class EveryModule(aot.CompiledModule):
        state = aot.export_global_tree(
            {row.name: values_of(row) for row in ROWS}, external=True, external_scope="every"
        )

        def read(self):
            return self.state

    return aot.export(EveryModule)


@pytest.fixture(scope="module")
def vmfb(output: aot.ExportOutput) -> Any:
    return output.compile()


@pytest.fixture(scope="module", params=["irpa", "safetensors"])
def read(
    request: pytest.FixtureRequest,
    output: aot.ExportOutput,
    vmfb: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    path = tmp_path_factory.mktemp("every") / f"w.{request.param}"
    output.save_parameters(path)
    return rt.load(vmfb, device="local-sync", parameters=path, strict=True).read()


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_dtype(row: dtypes.DType, read: Any) -> None:
    for name, expected in values_of(row).items():
        found = read[row.name][name]
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        same = found.reshape(-1).view(torch.uint8) == expected.reshape(-1).view(torch.uint8)
        assert bool(same.all()), name
