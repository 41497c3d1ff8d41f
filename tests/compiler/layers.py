# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the tests of rewrites of convolutions share."""

from __future__ import annotations

import torch
from torch import nn

BATCH = torch.export.Dim("batch", min=1, max=16)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class Many(nn.Module):
    """Several layers of one input: one compilation checks them all."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(torch.relu(layer(x)) for layer in self.layers)
