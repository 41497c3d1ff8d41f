# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Decompositions that PyTorch does not have, or has in a form that does not compile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

DECOMPOSITIONS: dict[Any, Callable[..., Any]] = {}
