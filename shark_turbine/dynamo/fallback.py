# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Saying that something runs in eager PyTorch: once each, or as an error."""

from __future__ import annotations

import warnings

from shark_turbine.errors import FallbackWarning, SourceLocation, UnsupportedTypeError

from .report import GraphReport, counted

# A warning names an operation and a line; another shape or another graph brings nothing new.
_announced: set[str] = set()


def announce(report: GraphReport) -> None:
    """Warn of the operations that run in eager PyTorch and have not been named yet."""
    new = [operator for operator in report.eager if str(operator) not in _announced]
    if not new:
        return
    _announced.update(map(str, new))
    text = "turbine_cpu runs these operators in eager PyTorch, between compiled parts:\n  "
    message = FallbackWarning(text + "\n  ".join(counted(new)))
    # The user's line, not ours: the first of the operators', or the one that called.
    place = next((operator.location for operator in new if operator.location), None)
    place = place or SourceLocation.of_user() or SourceLocation("<unknown>", 1)
    warnings.warn_explicit(message, FallbackWarning, place.file, place.line)


def refuse(report: GraphReport) -> UnsupportedTypeError:
    """Return the error that names every operation that cannot be compiled."""
    return UnsupportedTypeError(
        f"the {report.kind} graph holds operators that cannot be compiled",
        where="backend turbine_cpu",
        got="\n".join(counted(report.eager)),
        expected="with fallback='error': operators that the compiler takes, all of them",
        fix="options={'fallback': 'eager'} runs them in eager PyTorch",
    )
