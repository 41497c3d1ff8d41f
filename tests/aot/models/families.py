# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Families of transformers models, small and random, with the arguments that people call them with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch.export import Dim

VOCABULARY = 96
POSITIONS = 64
SMALL = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": POSITIONS,
}
GROUPED = {**SMALL, "num_key_value_heads": 2, "head_dim": 8}


@dataclass(frozen=True)
class Size:
    """How many examples, and how long each is (text tokens, pixels or samples)."""

    batch: int
    length: int


Inputs = Callable[[Size], dict[str, Any]]


@dataclass(frozen=True)
class Family:
    """One architecture.

    `sizes` are the size to export at and two others; `dynamic_shapes` and `strict` go to
    `aot.export`.
    """

    name: str
    build: Callable[[], torch.nn.Module]
    inputs: Inputs
    dynamic_shapes: Mapping[str, Any]
    sizes: tuple[Size, Size, Size] = (Size(2, 8), Size(3, 11), Size(1, 5))
    strict: bool = True

    def model(self) -> torch.nn.Module:
        torch.manual_seed(7)
        return self.build().eval()


def text(side: str) -> Inputs:
    """Give token ids and a mask; all but the first example are padded on one side."""

    def inputs(size: Size) -> dict[str, Any]:
        return {"input_ids": _tokens(size), "attention_mask": _mask(size, side)}

    return inputs


def encoder_decoder(size: Size) -> dict[str, Any]:
    target = Size(size.batch, size.length - 2)
    return {
        "input_ids": _tokens(size),
        "attention_mask": _mask(size, "right"),
        "decoder_input_ids": _tokens(target),
        "decoder_attention_mask": _mask(target, "right"),
    }


def image(side: int) -> Inputs:
    def inputs(size: Size) -> dict[str, Any]:
        return {"pixel_values": _noise(size.batch, 3, side, side)}

    return inputs


def _tokens(size: Size) -> torch.Tensor:
    generator = torch.Generator().manual_seed(size.batch * 1000 + size.length)
    return torch.randint(4, VOCABULARY, (size.batch, size.length), generator=generator)


def _mask(size: Size, side: str) -> torch.Tensor:
    mask = torch.ones(size.batch, size.length, dtype=torch.int64)
    for row in range(1, size.batch):
        padded = min(row + 1, size.length - 1)
        if side == "right":
            mask[row, size.length - padded :] = 0
        else:
            mask[row, :padded] = 0
    return mask


def _noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


BATCH = Dim("batch", max=64)
LENGTH = Dim("length", min=2, max=POSITIONS)
TARGET = Dim("target", min=2, max=POSITIONS)
TEXT = {"input_ids": {0: BATCH, 1: LENGTH}, "attention_mask": {0: BATCH, 1: LENGTH}}
SEQ2SEQ = {
    **TEXT,
    "decoder_input_ids": {0: BATCH, 1: TARGET},
    "decoder_attention_mask": {0: BATCH, 1: TARGET},
}
IMAGE = {"pixel_values": {0: BATCH}}
IMAGE_SIZES = (Size(2, 0), Size(3, 0), Size(1, 0))


def _build(model: str, config: str, **options: Any) -> Callable[[], torch.nn.Module]:
    def build() -> torch.nn.Module:
        made = getattr(transformers, config)(**options)
        return getattr(transformers, model)(made)

    return build


TEXT_ENCODERS = (
    Family("bert", _build("BertModel", "BertConfig", **SMALL), text("right"), TEXT),
    Family(
        "distilbert",
        _build(
            "DistilBertForSequenceClassification",
            "DistilBertConfig",
            vocab_size=VOCABULARY,
            dim=32,
            n_layers=2,
            n_heads=4,
            hidden_dim=48,
            max_position_embeddings=POSITIONS,
        ),
        text("right"),
        TEXT,
    ),
    Family(
        "roberta",
        _build(
            "RobertaForMaskedLM",
            "RobertaConfig",
            **{**SMALL, "max_position_embeddings": POSITIONS + 2},
        ),
        text("right"),
        TEXT,
    ),
    Family(
        "albert",
        _build("AlbertModel", "AlbertConfig", embedding_size=16, **SMALL),
        text("left"),
        TEXT,
    ),
    Family(
        "mpnet",
        _build("MPNetModel", "MPNetConfig", **{**SMALL, "max_position_embeddings": POSITIONS + 2}),
        text("right"),
        TEXT,
    ),
)

DECODERS = (
    Family(
        "gpt2",
        _build(
            "GPT2LMHeadModel",
            "GPT2Config",
            vocab_size=VOCABULARY,
            n_embd=32,
            n_layer=2,
            n_head=4,
            n_positions=POSITIONS,
            bos_token_id=1,
            eos_token_id=2,
            use_cache=False,
        ),
        text("right"),
        TEXT,
    ),
    Family(
        "llama",
        _build("LlamaForCausalLM", "LlamaConfig", use_cache=False, **GROUPED),
        text("left"),
        TEXT,
    ),
    Family(
        "mistral",
        _build("MistralForCausalLM", "MistralConfig", use_cache=False, sliding_window=6, **GROUPED),
        text("left"),
        TEXT,
    ),
    Family(
        "qwen2",
        _build("Qwen2ForCausalLM", "Qwen2Config", use_cache=False, **SMALL, num_key_value_heads=2),
        text("left"),
        TEXT,
    ),
    Family(
        "gemma",
        _build("GemmaForCausalLM", "GemmaConfig", use_cache=False, **GROUPED),
        text("right"),
        TEXT,
    ),
    Family(
        "opt",
        _build(
            "OPTForCausalLM",
            "OPTConfig",
            vocab_size=VOCABULARY,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            ffn_dim=48,
            word_embed_proj_dim=32,
            max_position_embeddings=POSITIONS,
            use_cache=False,
        ),
        text("left"),
        TEXT,
    ),
    Family(
        "gpt_neox",
        _build("GPTNeoXForCausalLM", "GPTNeoXConfig", use_cache=False, **SMALL),
        text("left"),
        TEXT,
    ),
)

ENCODER_DECODERS = (
    Family(
        "t5",
        _build(
            "T5ForConditionalGeneration",
            "T5Config",
            vocab_size=VOCABULARY,
            d_model=32,
            d_kv=8,
            d_ff=48,
            num_layers=2,
            num_heads=4,
            use_cache=False,
            decoder_start_token_id=0,
        ),
        encoder_decoder,
        SEQ2SEQ,
    ),
    Family(
        "bart",
        _build(
            "BartForConditionalGeneration",
            "BartConfig",
            vocab_size=VOCABULARY,
            d_model=32,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_ffn_dim=48,
            decoder_ffn_dim=48,
            max_position_embeddings=POSITIONS,
            use_cache=False,
        ),
        encoder_decoder,
        SEQ2SEQ,
    ),
)

VISION_SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "image_size": 32,
    "patch_size": 8,
}


def clip_inputs(size: Size) -> dict[str, Any]:
    return {**text("right")(size), "pixel_values": _noise(size.batch, 3, 32, 32)}


def _clip() -> torch.nn.Module:
    config = transformers.CLIPConfig(
        text_config={**SMALL, "bos_token_id": 1, "eos_token_id": 2, "projection_dim": 16},
        vision_config={**VISION_SMALL, "projection_dim": 16},
        projection_dim=16,
    )
    return transformers.CLIPModel(config)


VISION = (
    Family(
        "vit",
        _build("ViTForImageClassification", "ViTConfig", **VISION_SMALL),
        image(32),
        IMAGE,
        IMAGE_SIZES,
    ),
    Family(
        "deit",
        _build("DeiTModel", "DeiTConfig", **VISION_SMALL),
        image(32),
        IMAGE,
        IMAGE_SIZES,
    ),
    Family(
        "convnext",
        _build(
            "ConvNextForImageClassification",
            "ConvNextConfig",
            hidden_sizes=[8, 16, 24, 32],
            depths=[1, 1, 2, 1],
            image_size=64,
        ),
        image(64),
        IMAGE,
        IMAGE_SIZES,
    ),
    Family(
        "resnet",
        _build(
            "ResNetForImageClassification",
            "ResNetConfig",
            embedding_size=8,
            hidden_sizes=[16, 24, 32, 40],
            depths=[1, 1, 1, 1],
        ),
        image(64),
        IMAGE,
        IMAGE_SIZES,
    ),
    Family(
        "swin",
        _build(
            "SwinModel",
            "SwinConfig",
            image_size=32,
            patch_size=2,
            embed_dim=16,
            depths=[2, 2],
            num_heads=[2, 4],
            window_size=4,
        ),
        image(32),
        IMAGE,
        IMAGE_SIZES,
    ),
    Family(
        "segformer",
        _build(
            "SegformerForSemanticSegmentation",
            "SegformerConfig",
            hidden_sizes=[8, 16, 24, 32],
            depths=[1, 1, 1, 1],
            num_attention_heads=[1, 2, 2, 4],
            decoder_hidden_size=16,
        ),
        image(64),
        IMAGE,
        IMAGE_SIZES,
        # TorchDynamo cannot trace the lock that transformers takes when it prepares this model.
        strict=False,
    ),
    Family(
        "clip",
        _clip,
        clip_inputs,
        {**TEXT, **IMAGE},
    ),
)


def waveform(size: Size) -> dict[str, Any]:
    mask = torch.ones(size.batch, size.length, dtype=torch.int64)
    for row in range(1, size.batch):
        mask[row, size.length - 300 * row :] = 0
    return {"input_values": _noise(size.batch, size.length), "attention_mask": mask}


def spectrogram(size: Size) -> dict[str, Any]:
    return {
        "input_features": _noise(size.batch, 16, 64),
        "decoder_input_ids": _tokens(size),
    }


CONVOLUTIONS = {
    "conv_dim": (16, 16, 16),
    "conv_stride": (5, 4, 2),
    "conv_kernel": (10, 8, 4),
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}
AUDIO = {
    "input_values": {0: BATCH, 1: Dim("samples", min=400, max=16000)},
    "attention_mask": {0: BATCH, 1: Dim("samples", min=400, max=16000)},
}
AUDIO_SIZES = (Size(2, 1600), Size(3, 2000), Size(1, 1203))

SPEECH = (
    Family(
        "whisper",
        _build(
            "WhisperForConditionalGeneration",
            "WhisperConfig",
            vocab_size=VOCABULARY,
            d_model=32,
            num_mel_bins=16,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_ffn_dim=48,
            decoder_ffn_dim=48,
            max_source_positions=32,
            max_target_positions=POSITIONS,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            decoder_start_token_id=1,
            use_cache=False,
        ),
        spectrogram,
        {"input_features": {0: BATCH}, "decoder_input_ids": {0: BATCH, 1: TARGET}},
    ),
    Family(
        "wav2vec2",
        _build("Wav2Vec2ForCTC", "Wav2Vec2Config", **SMALL, **CONVOLUTIONS),
        waveform,
        AUDIO,
        AUDIO_SIZES,
    ),
    Family(
        "hubert",
        _build("HubertModel", "HubertConfig", **SMALL, **CONVOLUTIONS),
        waveform,
        AUDIO,
        AUDIO_SIZES,
    ),
)

FAMILIES = (*TEXT_ENCODERS, *DECODERS, *ENCODER_DECODERS, *VISION, *SPEECH)
