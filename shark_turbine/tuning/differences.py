# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How far results are from what they should be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

# The largest error, relative to the largest element of a result, by dtype. Eager and compiled code
# add in different orders; integers and truth values must be equal.
_TOLERANCES = {
    torch.float64: 1e-6,
    torch.complex128: 1e-6,
    torch.float32: 1e-3,
    torch.complex64: 1e-3,
    torch.float16: 1e-2,
    torch.bfloat16: 5e-2,
}
_OF_SMALL_FLOATS = 0.2


def difference(got: Any, expected: Any, tolerance: float | None) -> tuple[float, str | None]:
    """Return the largest error of results, and what is wrong with them; None if nothing is.

    Args:
        got: flat results by round and call.
        expected: the same.
        tolerance: how large an error may be; None is by dtype.
    """
    largest, reason = 0.0, None
    for these, those in zip(got, expected, strict=True):
        for results, wanted in zip(these, those, strict=True):
            error, why = _of_call(results, wanted, tolerance)
            largest = max(largest, error)
            reason = reason or why
    return largest, reason


def _of_call(
    got: Sequence[Any], expected: Sequence[Any], tolerance: float | None
) -> tuple[float, str | None]:
    if len(got) != len(expected):
        return 0.0, f"{len(got)} results instead of {len(expected)}"
    largest, reason = 0.0, None
    for place, (value, wanted) in enumerate(zip(got, expected, strict=True)):
        error, why = _of_value(value, wanted, tolerance)
        largest = max(largest, error)
        if why is not None and reason is None:
            reason = why if len(got) == 1 else f"result {place}: {why}"
    return largest, reason


def _of_value(value: Any, wanted: Any, tolerance: float | None) -> tuple[float, str | None]:
    if not isinstance(wanted, torch.Tensor) or not isinstance(value, torch.Tensor):
        return 0.0, None if _same(value, wanted) else f"{value!r} instead of {wanted!r}"[:100]
    if value.dtype != wanted.dtype or value.shape != wanted.shape:
        return 0.0, f"{_kind(value)} instead of {_kind(wanted)}"
    if not (wanted.is_floating_point() or wanted.is_complex()):
        count = int((value != wanted).sum())
        return 0.0, f"{count} of {wanted.numel()} elements differ" if count else None
    limit = tolerance
    if limit is None:
        limit = _TOLERANCES.get(wanted.dtype, _OF_SMALL_FLOATS)
    wide = torch.complex128 if wanted.is_complex() else torch.float64
    value, wanted = value.to(wide), wanted.to(wide)
    unusual = ~torch.isfinite(wanted)
    if not torch.equal(value[unusual].isnan(), wanted[unusual].isnan()) or not torch.equal(
        value[unusual].nan_to_num(), wanted[unusual].nan_to_num()
    ):
        return 0.0, "infinities or NaNs are elsewhere"
    value, wanted = value[~unusual], wanted[~unusual]
    if not wanted.numel():
        return 0.0, None
    if not bool(torch.isfinite(value).all()):
        return float("inf"), "elements are infinite or NaN that should not be"
    scale = float(wanted.abs().max()) or 1.0
    error = float((value - wanted).abs().max()) / scale
    return error, None if error <= limit else f"off by {error:.1e}, more than {limit:.0e}"


def _same(value: Any, wanted: Any) -> bool:
    if isinstance(value, torch.Tensor) and not value.dim():
        value = value.item()
    if isinstance(wanted, torch.Tensor) and not wanted.dim():
        wanted = wanted.item()
    if isinstance(wanted, float) and isinstance(value, (int, float)):
        return abs(value - wanted) <= 1e-3 * max(abs(wanted), 1e-30) or value is wanted
    return bool(value == wanted)


def _kind(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"
