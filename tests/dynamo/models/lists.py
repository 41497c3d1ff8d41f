# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""All architectures, and those of them that the test suite runs."""

from __future__ import annotations

from .families_again import AGAIN
from .more_media import MORE_MEDIA
from .more_text import MORE_TEXT

ALL = (*AGAIN, *MORE_TEXT, *MORE_MEDIA)

# Only table.py runs these, by hand: they are like others in what they ask of the compiler, and take long; or some of their
# operators run in eager, and finding out which takes minutes.
_BY_HAND = {
    "audio_spectrogram_transformer",
    "blip",
    "deberta_v2",
    "detr",
    "efficientnet",
    "gemma3",
    "hubert",
    "llava",
    "mamba2",
    "mixtral",
    "mobilenet_v2",
    "modernbert",
    "siglip",
    "vilt",
    "vision_encoder_decoder",
    "wav2vec2",
    "wavlm",
    "xlnet",
}
ARCHITECTURES = tuple(each for each in ALL if each.name not in _BY_HAND)
