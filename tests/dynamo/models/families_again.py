# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The families of the AOT tests, with labels to train towards."""

from __future__ import annotations

from tests.aot.models.families import FAMILIES

from .architectures import (
    Labels,
    class_of_each_pixel,
    classes,
    matching_pairs,
    next_tokens,
    of_family,
    target_tokens,
    transcripts,
)

_LABELS: dict[str, Labels] = {
    "distilbert": classes,
    "roberta": next_tokens,
    "gpt2": next_tokens,
    "llama": next_tokens,
    "mistral": next_tokens,
    "qwen2": next_tokens,
    "gemma": next_tokens,
    "opt": next_tokens,
    "gpt_neox": next_tokens,
    "t5": target_tokens,
    "bart": target_tokens,
    "vit": classes,
    "convnext": classes,
    "resnet": classes,
    "segformer": class_of_each_pixel,
    "clip": matching_pairs,
    "whisper": target_tokens,
    "wav2vec2": transcripts,
}

AGAIN = tuple(of_family(family, _LABELS.get(family.name)) for family in FAMILIES)
