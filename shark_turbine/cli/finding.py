# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a check of `doctor` found."""

from __future__ import annotations

from dataclasses import dataclass

OK = "ok"
WARNING = "warning"
PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """`ok`, `warning` or `problem`; about what; in words; and what mends it."""

    verdict: str
    about: str
    said: str
    fix: str | None = None
