# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Bytes above 127 are not negative numbers."""

from __future__ import annotations

import torch

from shark_turbine import aot, runtime

X = torch.tensor([0, 1, 127, 128, 129, 200, 254, 255], dtype=torch.uint8)


def everything(x):
    ones = torch.ones(8)
    return {
        "equal": x == 200,
        "count": (x == 255).sum(),
        "differs": x != 255,
        "greater": x > 128,
        "less": x < 200,
        "sum": x.sum(),
        "mean": x.mean(dtype=torch.float32),
        "floats": (x * 0.5, x - 0.5, x + 0.5, x * ones, x / 255),
        "bytes": (x * 2, x - 100, x + x, -x, x * x, ~x, x >> 1, x & 15, x // 7, x % 7),
        "extremes": (x.max(), x.min(), x.amax(0), x.max(0), x.clamp(3, 200)),
        "masked": ones.masked_fill(x == 255, 0),
        "chosen": torch.where(x > 100, x, x * 3),
        "filled": torch.full_like(x, 200) == x,
        "signed": (x.to(torch.int8) * 2, x.to(torch.int8).max()),
        "moved": (torch.cat([x, x]), torch.nn.functional.pad(x, (1, 1), value=255), x.flip(0)),
    }


def test_bytes_compute_as_in_eager() -> None:
    loaded = runtime.load(aot.export(everything, X).compile(), device="local-sync")
    expected = everything(X)
    expected["extremes"] = tuple(
        tuple(each) if isinstance(each, tuple) else each for each in expected["extremes"]
    )
    torch.testing.assert_close(loaded.main(X), expected, rtol=0, atol=0)
