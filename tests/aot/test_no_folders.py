# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What is compiled does not say in which folders of this machine its sources are."""

from pathlib import Path

import pytest
import torch

import shark_turbine.aot as aot
import shark_turbine.runtime as runtime

HERE = Path(__file__)


class Lookup(torch.nn.Module):
    """It has a check of an index, whose message names the line."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(10, 4)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.table(ids).sum(0)


@pytest.mark.parametrize("target", ["host", "aarch64-linux"])
def test_no_folder_is_in_a_vmfb(target: str) -> None:
    vmfb = aot.export(Lookup(), torch.tensor([1, 2])).compile(target=target, cache=False)
    data = bytes(vmfb)
    assert f"{HERE.name}:".encode() in data
    assert str(HERE.parent).encode() not in data
    assert str(Path(torch.__file__).parent).encode() not in data
    if target == "host":
        with pytest.raises(IndexError, match=rf"\((tests/aot/)?{HERE.name}:\d+\)"):
            runtime.load(vmfb).main(torch.tensor([1, 99]))
