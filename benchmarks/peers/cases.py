# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The programs that are measured: random weights, eval mode, f32, tensors in and tensors out."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import transformers

from . import networks

Made = tuple[torch.nn.Module, tuple[torch.Tensor, ...]]


@dataclass(frozen=True, slots=True)
class Case:
    """One program: its title, how to make it, and the goal for our median over the best peer's."""

    title: str
    make: Callable[..., Made]
    goal: float | None = None


def make(text: str) -> Made:
    """Return model and arguments of a case, `bert` or with sizes, `bert:length=512,layers=4`.

    Everything is made from one seed, so that every process makes the same.
    """
    name, sizes = parse(text)
    torch.manual_seed(0)
    model, arguments = CASES[name].make(**sizes)
    networks.randomize_statistics(model)
    return model.eval().requires_grad_(False), arguments


def title(text: str) -> str:
    """Return what the table calls a case."""
    name, sizes = parse(text)
    shown = ", ".join(f"{key} {value}" for key, value in sizes.items())
    return f"{name}: {shown}" if shown else CASES[name].title


def goal(text: str) -> float | None:
    """Return the goal for our median over the best peer's; None where there is none."""
    name, sizes = parse(text)
    return None if sizes else CASES[name].goal


def parse(text: str) -> tuple[str, dict[str, int]]:
    """Split `name:key=value,...`.

    Raises:
        ValueError: there is no such case, or it has no such size.
    """
    name, _, rest = text.partition(":")
    if name not in CASES:
        raise ValueError(f"there is no case {name!r}; there are {', '.join(CASES)}")
    sizes = dict(pair.split("=", 1) for pair in rest.split(",") if pair)
    known = inspect.signature(CASES[name].make).parameters
    if strange := [key for key in sizes if key not in known]:
        raise ValueError(f"{name} has no {strange[0]!r}; it has {', '.join(known)}")
    return name, {key: int(value) for key, value in sizes.items()}


class First(torch.nn.Module):
    """The first result of a transformers model, as a tensor."""

    def __init__(self, model: torch.nn.Module, **fixed: Any) -> None:
        super().__init__()
        self.model, self.fixed = model, fixed

    def forward(self, *arguments: torch.Tensor) -> torch.Tensor:
        return self.model(*arguments, **self.fixed, return_dict=False)[0]


def _ids(batch: int, length: int) -> torch.Tensor:
    return torch.randint(5, 1000, (batch, length))


def _image(batch: int, size: int) -> torch.Tensor:
    return torch.randn(batch, 3, size, size)


def _tiny() -> Made:
    layers = torch.nn
    return layers.Sequential(layers.Linear(8, 16), layers.ReLU(), layers.Linear(16, 4)), (
        torch.randn(3, 8),
    )


def _mlp(batch: int = 32) -> Made:
    layers = torch.nn
    model = layers.Sequential(
        layers.Linear(1024, 4096),
        layers.ReLU(),
        layers.Linear(4096, 4096),
        layers.ReLU(),
        layers.Linear(4096, 1024),
    )
    return model, (torch.randn(batch, 1024),)


def _bert(batch: int = 1, length: int = 128, layers: int = 12) -> Made:
    config = transformers.BertConfig(
        num_hidden_layers=layers, max_position_embeddings=max(512, length)
    )
    mask = torch.ones(batch, length, dtype=torch.int64)
    model = transformers.BertModel(config, add_pooling_layer=False)
    return First(model), (_ids(batch, length), mask)


def _resnet(batch: int = 1, size: int = 224) -> Made:
    model = transformers.ResNetForImageClassification(transformers.ResNetConfig(num_labels=1000))
    return First(model), (_image(batch, size),)


def _gpt2_decode(batch: int = 1, cached: int = 256, layers: int = 12) -> Made:
    config = transformers.GPT2Config(n_layer=layers)
    model = networks.DecodeStep(transformers.GPT2LMHeadModel(config))
    cache = torch.randn(2, layers, batch, 12, cached, 64)
    return model, (_ids(batch, 1), torch.full((batch, 1), cached), cache[0], cache[1])


def _vit(batch: int = 1, size: int = 224) -> Made:
    config = transformers.ViTConfig(image_size=size)
    return First(transformers.ViTModel(config, add_pooling_layer=False)), (_image(batch, size),)


def _mobilenet(batch: int = 1, size: int = 224) -> Made:
    config = transformers.MobileNetV2Config(num_labels=1000)
    return First(transformers.MobileNetV2ForImageClassification(config)), (_image(batch, size),)


def _lstm(batch: int = 1, length: int = 64) -> Made:
    model = torch.nn.LSTM(256, 256, num_layers=2, batch_first=True)
    return networks.Recurrent(model), (torch.randn(batch, length, 256),)


def _distilbert(batch: int = 4, length: int = 64) -> Made:
    model = transformers.DistilBertModel(transformers.DistilBertConfig())
    mask = torch.ones(batch, length, dtype=torch.int64)
    mask[0, length // 2 :] = 0
    return First(model), (_ids(batch, length), mask)


def _convnext(batch: int = 1, size: int = 224) -> Made:
    model = transformers.ConvNextForImageClassification(
        transformers.ConvNextConfig(num_labels=1000)
    )
    return First(model), (_image(batch, size),)


def _unet(batch: int = 1, size: int = 128) -> Made:
    return networks.UNet(), (_image(batch, size),)


def _t5_encoder(batch: int = 1, length: int = 96) -> Made:
    config = transformers.T5Config(d_model=512, d_ff=1024, num_layers=8, num_heads=6, d_kv=64)
    return First(transformers.T5EncoderModel(config)), (_ids(batch, length),)


def _whisper_encoder(batch: int = 1) -> Made:
    from transformers.models.whisper.modeling_whisper import (  # noqa: PLC0415 (no public name)
        WhisperEncoder,
    )

    config = transformers.WhisperConfig(
        d_model=384, encoder_layers=4, encoder_attention_heads=6, encoder_ffn_dim=1536
    )
    return First(WhisperEncoder(config)), (torch.randn(batch, 80, 3000),)


CASES: dict[str, Case] = {
    "mlp": Case("MLP 1024-4096-4096-1024, batch 32", _mlp, 1.1),
    "mlp-1": Case("MLP 1024-4096-4096-1024, batch 1", lambda: _mlp(1), 0.95),
    "bert": Case("BERT-base, 128 tokens", _bert, 1.0),
    "resnet": Case("ResNet-50, 224²", _resnet, 1.15),
    "gpt2-decode": Case("GPT-2 decode, 1 token, 256 cached", _gpt2_decode, 0.8),
    "vit": Case("ViT-B/16, 224²", _vit, 1.0),
    "mobilenet": Case("MobileNetV2, 224²", _mobilenet, 1.15),
    "lstm": Case("LSTM, 2 × 256, 64 steps", _lstm, 1.0),
    # Nobody looked at these when the recipes were made.
    "distilbert": Case("DistilBERT, 4 × 64 tokens, padded", _distilbert),
    "convnext": Case("ConvNeXt-T, 224²", _convnext),
    "unet": Case("U-Net of 4 levels, 128²", _unet),
    "t5-encoder": Case("T5-small encoder, 96 tokens", _t5_encoder),
    "whisper-encoder": Case("Whisper-tiny encoder, 30 s", _whisper_encoder),
    # For the test of this benchmark.
    "tiny": Case("MLP 8-16-4, batch 3", _tiny),
}
GOALS = tuple(name for name, case in CASES.items() if case.goal is not None)
UNSEEN = ("distilbert", "convnext", "unet", "t5-encoder", "whisper-encoder")
DEFAULT = (*GOALS, *UNSEEN)
