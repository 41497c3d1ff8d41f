# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Quantized weights that are read within branches and loops of procedures and of torch functions."""

from __future__ import annotations

import torch
from torch import nn

import shark_turbine.aot as aot
import shark_turbine.runtime as rt


def test_weights_within_branches_and_loops():
    torch.manual_seed(0)
    layer = nn.Linear(32, 32).requires_grad_(False)

    class LoopModule(aot.CompiledModule):
        params = aot.export_parameters(layer)
        forward = aot.jittable(layer.forward)

        @aot.jittable
        def in_a_branch(x, is_wanted):
            return torch.cond(is_wanted, lambda x: layer(x), lambda x: x * 2.0, (x,))

        def steps(self, x=aot.AbstractTensor(1, 32), n=aot.AbstractI64):
            return aot.fori_loop(0, n, lambda i, x: self.forward(x), x)

        def chosen(self, x=aot.AbstractTensor(1, 32), is_wanted=aot.AbstractBool):
            return aot.cond(is_wanted, lambda: self.params["weight"], lambda: self.zeros(x))

        @aot.jittable
        def zeros(x):
            return x.new_zeros(32, 32)

        def branch(
            self,
            x=aot.AbstractTensor(1, 32),
            is_wanted=aot.AbstractTensor(dtype=torch.bool),
        ):
            return self.in_a_branch(x, is_wanted)

    quantized = aot.quantize(LoopModule, bits=4, group_size=16).module
    loaded = rt.load(aot.export(quantized).compile(), device="local-sync")
    reference = aot.quantize(layer, bits=4, group_size=16).module
    x = torch.randn(1, 32)
    torch.testing.assert_close(loaded.steps(x, 3), reference(reference(reference(x))))
    torch.testing.assert_close(loaded.chosen(x, True), reference.weight, rtol=0, atol=0)
    assert not loaded.chosen(x, False).any()
    torch.testing.assert_close(loaded.branch(x, torch.tensor(True)), reference(x))
    torch.testing.assert_close(loaded.branch(x, torch.tensor(False)), x * 2)
