# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""More architectures of images and sound, and of several kinds of input at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers

from tests.aot.models.families import (
    AUDIO_SIZES,
    CONVOLUTIONS,
    GROUPED,
    IMAGE_SIZES,
    SMALL,
    VISION_SMALL,
    Size,
    clip_inputs,
    image,
    text,
    waveform,
)

from .architectures import Architecture, architecture, classes, matching_pairs, next_tokens

_SIZES = (IMAGE_SIZES[0], IMAGE_SIZES[1])
_IMAGE_TOKEN = 95


def _detr() -> Any:
    backbone = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 16, 24], depths=[1, 1, 1, 1], out_features=["stage4"]
    )
    config = transformers.DetrConfig(
        backbone_config=backbone,
        d_model=32,
        num_queries=5,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
    )
    return transformers.DetrForObjectDetection(config)


_VISION = (
    architecture(
        "dinov2",
        "Dinov2ForImageClassification",
        "Dinov2Config",
        image(32),
        classes,
        _SIZES,
        **VISION_SMALL,
        use_swiglu_ffn=True,
    ),
    architecture(
        "mobilenet_v2",
        "MobileNetV2ForImageClassification",
        "MobileNetV2Config",
        image(64),
        classes,
        _SIZES,
        depth_multiplier=0.25,
        depth_divisible_by=4,
        min_depth=4,
        image_size=64,
    ),
    architecture(
        "efficientnet",
        "EfficientNetForImageClassification",
        "EfficientNetConfig",
        image(64),
        classes,
        _SIZES,
        image_size=64,
        width_coefficient=0.5,
        depth_coefficient=1.0,
        kernel_sizes=[3, 5],
        in_channels=[32, 16],
        out_channels=[16, 32],
        strides=[1, 2],
        num_block_repeats=[1, 2],
        expand_ratios=[1, 4],
        hidden_dim=640,
    ),
    Architecture("detr", _detr, image(64), sizes=_SIZES),
)


def _spectrogram(size: Size) -> dict[str, Any]:
    return {"input_values": _noise(size.batch, 32, 16)}


def _noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


_AUDIO = (
    architecture(
        "audio_spectrogram_transformer",
        "ASTForAudioClassification",
        "ASTConfig",
        _spectrogram,
        classes,
        _SIZES,
        **{**VISION_SMALL, "image_size": None},
        frequency_stride=4,
        time_stride=6,
        max_length=32,
        num_mel_bins=16,
    ),
    architecture(
        "wavlm",
        "WavLMForSequenceClassification",
        "WavLMConfig",
        waveform,
        classes,
        (AUDIO_SIZES[0], AUDIO_SIZES[1]),
        **SMALL,
        **CONVOLUTIONS,
        max_bucket_distance=64,
        classifier_proj_size=16,
    ),
)


def _text_and_image(size: Size) -> dict[str, Any]:
    return {**text("right")(size), "pixel_values": image(32)(size)["pixel_values"]}


def _image_among_tokens(size: Size) -> dict[str, Any]:
    """Give texts that begin with the place of an image of 16 patches."""
    inputs = _text_and_image(size)
    places = torch.full((size.batch, 16), _IMAGE_TOKEN)
    tokens = inputs["input_ids"].clamp(max=_IMAGE_TOKEN - 1)
    mask = inputs["attention_mask"]
    return {
        "input_ids": torch.cat([places, tokens], 1),
        "attention_mask": torch.cat([torch.ones_like(places), mask], 1),
        "pixel_values": inputs["pixel_values"],
    }


def _image_to_text(size: Size) -> dict[str, Any]:
    texts = text("right")(size)
    return {
        "pixel_values": image(32)(size)["pixel_values"],
        "decoder_input_ids": texts["input_ids"],
        "decoder_attention_mask": texts["attention_mask"],
    }


def _captions(inputs: Any) -> dict[str, Any]:
    return {"labels": inputs["decoder_input_ids"].roll(-1, 1)}


def _of_two(model: str, config: str, **options: Any) -> Callable[[], Any]:
    def build() -> Any:
        texts, images = options["text_config"], options["vision_config"]
        made = getattr(transformers, config)(
            **{**options, "text_config": dict(texts), "vision_config": dict(images)}
        )
        return getattr(transformers, model)(made)

    return build


def _captioner() -> Any:
    encoder = transformers.ViTConfig(**VISION_SMALL)
    decoder = transformers.GPT2Config(
        vocab_size=96, n_embd=32, n_layer=2, n_head=4, n_positions=64, use_cache=False
    )
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        encoder, decoder, pad_token_id=0, decoder_start_token_id=1
    )
    return transformers.VisionEncoderDecoderModel(config)


_OF_SEVERAL_KINDS = (
    Architecture(
        "siglip",
        _of_two(
            "SiglipModel",
            "SiglipConfig",
            text_config={**SMALL, "bos_token_id": 1, "eos_token_id": 2},
            vision_config=VISION_SMALL,
        ),
        clip_inputs,
        matching_pairs,
    ),
    Architecture(
        "blip",
        _of_two(
            "BlipForConditionalGeneration",
            "BlipConfig",
            text_config={**SMALL, "bos_token_id": 1, "sep_token_id": 2, "use_cache": False},
            vision_config=VISION_SMALL,
            image_text_hidden_size=32,
        ),
        clip_inputs,
        next_tokens,
    ),
    Architecture(
        "llava",
        _of_two(
            "LlavaForConditionalGeneration",
            "LlavaConfig",
            text_config={**GROUPED, "model_type": "llama", "use_cache": False},
            vision_config={**VISION_SMALL, "model_type": "clip_vision_model"},
            image_token_index=_IMAGE_TOKEN,
            image_seq_length=16,
        ),
        _image_among_tokens,
        next_tokens,
    ),
    architecture(
        "vilt",
        "ViltForQuestionAnswering",
        "ViltConfig",
        _text_and_image,
        None,
        **VISION_SMALL,
        vocab_size=96,
        max_position_embeddings=64,
    ),
    Architecture("vision_encoder_decoder", _captioner, _image_to_text, _captions),
)

MORE_MEDIA = (*_VISION, *_AUDIO, *_OF_SEVERAL_KINDS)
