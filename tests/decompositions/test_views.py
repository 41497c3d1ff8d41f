# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Views with two dynamic dims: which dims belong together is never guessed."""

from __future__ import annotations

import pytest
import torch
from torch.export import Dim

from shark_turbine import aot, runtime

X = torch.randn(2, 10, 64)
SIZES = (X, torch.randn(3, 7, 64), torch.randn(1, 1, 64))


class Views(torch.nn.Module):
    def forward(self, x):
        batch, length, width = x.shape
        heads = x.view(batch, length, 4, 16)
        split = x.transpose(0, 1).contiguous().view(length, batch * 4, 16).transpose(0, 1)
        return (
            heads.permute(1, 0, 2, 3).contiguous().view(length * batch, 64),
            heads.permute(2, 0, 1, 3).contiguous().view(batch * length, 64),
            split.reshape(batch, 4, length, 16),
            x.reshape(length, batch, 1, 64),
            x.reshape(length, batch, 4, 16),
            x.reshape(-1, width).view(batch, length, width),
            x.reshape(batch, -1),
        )


class Attention(torch.nn.Module):
    def __init__(self):
        super().__init__()
        layer = torch.nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
        self.encoder = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x):
        return self.encoder(x)


@pytest.mark.parametrize("model", [Views(), Attention()], ids=["views", "attention"])
def test_two_dynamic_dims(model: torch.nn.Module) -> None:
    model.eval()
    shapes = ({0: Dim("batch"), 1: Dim("length", max=512)},)
    loaded = runtime.load(aot.export(model, X, dynamic_shapes=shapes).compile())
    for x in SIZES:
        with torch.no_grad():
            torch.testing.assert_close(loaded.main(x), model(x), rtol=1e-5, atol=1e-5)
