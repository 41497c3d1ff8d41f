# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""All architectures."""

from __future__ import annotations

from .families_again import AGAIN

ARCHITECTURES = (*AGAIN,)
