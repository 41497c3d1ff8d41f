# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Networks of the cases that no package has in the shape that every runtime can take."""

from __future__ import annotations

import itertools

import torch
import transformers
from torch import nn


class DecodeStep(nn.Module):
    """One token of a GPT-2 with cached keys and values, of shape [layers, batch, heads, cached, 64].

    Returns the logits of shape [batch, vocabulary], and the token's own keys and values of shape
    [layers, batch, heads, 1, 64]: whoever calls it writes them into the cache in place, as with a
    static cache. The cache itself is not an output: no runtime copies it.
    """

    def __init__(self, model: transformers.GPT2LMHeadModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, token: torch.Tensor, position: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        cache = transformers.DynamicCache()
        for past_keys, past_values in zip(keys, values, strict=True):
            # `update` would join them to empty tensors, which not every converter takes.
            layer = transformers.cache_utils.DynamicLayer()
            layer.lazy_initialization(past_keys, past_values)
            layer.keys, layer.values = past_keys, past_values
            cache.layers.append(layer)
        logits = self.model(
            token, past_key_values=cache, position_ids=position, use_cache=True
        ).logits[:, -1]
        new_keys = torch.stack([layer.keys[:, :, -1:] for layer in cache.layers])
        new_values = torch.stack([layer.values[:, :, -1:] for layer in cache.layers])
        return logits, new_keys, new_values


class Recurrent(nn.Module):
    """A recurrent layer from a zero state: [batch, steps, in] to [batch, steps, hidden]."""

    def __init__(self, layer: nn.LSTM) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)[0]


class UNet(nn.Module):
    """A small U-Net: [batch, 3, size, size] to [batch, 4, size, size], size divisible by 8."""

    def __init__(self, width: int = 32, levels: int = 4) -> None:
        super().__init__()
        widths = [width << level for level in range(levels)]
        self.down = nn.ModuleList(
            _double(before, after) for before, after in itertools.pairwise([3, *widths])
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(deep, shallow, 2, stride=2)
            for shallow, deep in itertools.pairwise(widths)
        )
        self.merge = nn.ModuleList(_double(2 * shallow, shallow) for shallow in widths[:-1])
        self.head = nn.Conv2d(width, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept: list[torch.Tensor] = []
        for number, block in enumerate(self.down):
            x = block(nn.functional.max_pool2d(x, 2) if number else x)
            kept.append(x)
        kept.pop()
        for up, merge in reversed(list(zip(self.up, self.merge, strict=True))):
            x = merge(torch.cat([up(x), kept.pop()], dim=1))
        return self.head(x)


def _double(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.SiLU(),
        nn.Conv2d(after, after, 3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.SiLU(),
    )


def randomize_statistics(model: nn.Module) -> None:
    """Give BatchNorms statistics that matter: a runtime that dropped them would be caught."""
    for layer in model.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.running_mean is not None:
            assert layer.running_var is not None
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.8, 1.2)
