# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`torch.cond` and `torch.while_loop` under `torch.compile`: they run in eager, what is around them compiled."""

from __future__ import annotations

import pytest
import torch
from torch._higher_order_ops.while_loop import while_loop


@pytest.mark.filterwarnings("ignore::shark_turbine.errors.FallbackWarning")
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_operators_over_functions_give_what_eager_gives(sign: float) -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        y = torch.sin(x) * 2
        z = torch.cond(y.sum() > 0, lambda y: y + 1, lambda y: y - 1, (y,))
        start = torch.zeros((), dtype=torch.int64)
        _, z = while_loop(lambda i, z: i < 3, lambda i, z: (i + 1, z * 2), (start, z))
        return torch.cos(z)

    x = torch.rand(4) * sign
    y = torch.sin(x) * 2
    expected = torch.cos((y + sign) * 8)
    torch.testing.assert_close(torch.compile(function, backend="turbine_cpu")(x), expected)
