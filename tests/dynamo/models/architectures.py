# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What an architecture of transformers is to these tests: a small random model, inputs and labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import transformers

from tests.aot.models.families import Family, Inputs, Size

Labels = Callable[[Mapping[str, Any]], dict[str, Any]]

# Apart from dropout, whose names say so: what makes training random.
_RANDOM = {
    "mask_time_prob": 0.0,
    "mask_feature_prob": 0.0,
    "router_jitter_noise": 0.0,
    "jitter_noise": 0.0,
}


@dataclass(frozen=True)
class Architecture:
    """One architecture.

    `build` gives any model of it; `sizes` are the two that the forward pass runs at. Without `labels`
    the model is trained towards noise.
    """

    name: str
    build: Callable[[], Any]
    inputs: Inputs
    labels: Labels | None = None
    sizes: tuple[Size, Size] = (Size(2, 8), Size(3, 11))

    def model(self) -> Any:
        """Return the same random model at each call, without dropout."""
        draft = self.build()
        config = draft.config
        _make_deterministic(config)
        torch.manual_seed(7)
        model = type(draft)(config)
        _fill_constants(model)
        return model


def architecture(
    name: str,
    model: str,
    config: str,
    inputs: Inputs,
    labels: Labels | None = None,
    sizes: tuple[Size, Size] = Architecture.sizes,
    **options: Any,
) -> Architecture:
    """Make one of the names of its classes in transformers."""

    def build() -> Any:
        return getattr(transformers, model)(getattr(transformers, config)(**options))

    return Architecture(name, build, inputs, labels, sizes)


def of_family(family: Family, labels: Labels | None) -> Architecture:
    return Architecture(family.name, family.build, family.inputs, labels, family.sizes[:2])


def _make_deterministic(config: Any) -> None:
    for name, value in list(vars(config).items()):
        if isinstance(value, transformers.PretrainedConfig):
            _make_deterministic(value)
        elif "drop" in name and isinstance(value, float):
            setattr(config, name, 0.0)
        elif name in _RANDOM:
            setattr(config, name, _RANDOM[name])
        elif name == "initializer_range":
            # The usual 0.02 of wide models makes narrow ones all but constant.
            setattr(config, name, 0.15)


@torch.no_grad()
def _fill_constants(model: torch.nn.Module) -> None:
    """Add noise to parameters of equal elements: zeros hide mistakes, and break layer norms."""
    for parameter in model.parameters():
        if parameter.numel() and parameter.eq(parameter.flatten()[0]).all():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)


# ---------------------------------------------------------------------------------------------- labels --


def next_tokens(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Let a language model predict its own input, padding left out."""
    tokens, mask = inputs["input_ids"], inputs["attention_mask"]
    return {"labels": tokens.masked_fill(mask == 0, -100)}


def target_tokens(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {"labels": inputs["decoder_input_ids"].roll(-1, 1)}


def classes(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Give each example one of two classes."""
    batch = next(iter(inputs.values())).shape[0]
    return {"labels": torch.arange(batch) % 2}


def class_of_each_token(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {"labels": inputs["input_ids"] % 2}


def spans(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Say where the answer starts and ends in each text."""
    batch = inputs["input_ids"].shape[0]
    return {"start_positions": torch.arange(batch) + 1, "end_positions": torch.arange(batch) + 2}


def class_of_each_pixel(inputs: Mapping[str, Any]) -> dict[str, Any]:
    batch, _, height, width = inputs["pixel_values"].shape
    return {"labels": torch.arange(batch * height * width).reshape(batch, height, width) % 2}


def matching_pairs(_: Mapping[str, Any]) -> dict[str, Any]:
    return {"return_loss": True}


def transcripts(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Give short texts to speech; the second is one token shorter."""
    batch = inputs["input_values"].shape[0]
    labels = torch.arange(4, 4 + 5 * batch).reshape(batch, 5)
    labels[1:, -1] = -100
    return {"labels": labels}
