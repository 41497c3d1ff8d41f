# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""All architectures."""

from __future__ import annotations

from .families_again import AGAIN
from .more_media import MORE_MEDIA
from .more_text import MORE_TEXT

ARCHITECTURES = (*AGAIN, *MORE_TEXT, *MORE_MEDIA)
