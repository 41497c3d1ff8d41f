# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Long sums keep the precision of eager's, where compiled code would add serially."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from shark_turbine import aot, runtime

LENGTH = 300_007  # a prime: no way of cutting it comes out even
WEIGHT, BIAS = torch.linspace(0.5, 2, LENGTH), torch.linspace(-1, 1, LENGTH)


class Long(aot.CompiledModule):
    @aot.jittable
    def along_rows(x):
        moments = torch.var_mean(x, 1)
        return x.sum(1), x.mean(1, keepdim=True), *moments, x.mean(), x.sum(dtype=torch.float32)

    @aot.jittable
    def over_images(x):
        return x.mean((0, 2, 3)), x.sum((-1, -2), keepdim=True), F.group_norm(x, 2, eps=1e-3)

    @aot.jittable
    def normalized(x, weight, bias):
        return F.layer_norm(x, (LENGTH,), weight, bias)

    @aot.jittable
    def halves(x):
        return x.half().sum(1), x.bfloat16().mean(1)

    def rows(self, x=aot.AbstractTensor(None, LENGTH)):
        return self.along_rows(x)

    def images(self, x=aot.AbstractTensor(2, 4, 70, 80)):
        return self.over_images(x)

    def normalize(
        self,
        x=aot.AbstractTensor(2, LENGTH),
        weight=aot.AbstractTensor(LENGTH),
        bias=aot.AbstractTensor(LENGTH),
    ):
        return self.normalized(x, weight, bias)

    def narrow(self, x=aot.AbstractTensor(2, LENGTH)):
        return self.halves(x)


def test_long_reductions_are_as_exact_as_in_eager() -> None:
    torch.manual_seed(0)
    loaded = runtime.load(aot.export(Long).compile(), device="local-sync")
    x = torch.randn(2, LENGTH) + 1000
    images = torch.randn(2, 4, 70, 80) + 100

    wide = x.double()
    exact = (
        wide.sum(1),
        wide.mean(1, keepdim=True),
        *torch.var_mean(wide, 1),
        wide.mean(),
        wide.sum(),
    )
    torch.testing.assert_close(
        loaded.rows(x), tuple(each.float() for each in exact), rtol=2e-5, atol=0
    )

    means, sums, normal = loaded.images(images)
    wide = images.double()
    torch.testing.assert_close(means, wide.mean((0, 2, 3)).float(), rtol=5e-6, atol=0)
    torch.testing.assert_close(sums, wide.sum((-1, -2), keepdim=True).float(), rtol=5e-6, atol=0)
    torch.testing.assert_close(normal, F.group_norm(wide, 2, eps=1e-3).float(), rtol=0, atol=1e-3)

    expected = F.layer_norm(x.double(), (LENGTH,), WEIGHT.double(), BIAS.double()).float()
    torch.testing.assert_close(loaded.normalize(x, WEIGHT, BIAS), expected, rtol=0, atol=5e-3)

    total, mean = loaded.narrow(x - 1000)
    torch.testing.assert_close(total, (x - 1000).half().sum(1), rtol=1e-2, atol=1)
    torch.testing.assert_close(mean, (x - 1000).bfloat16().mean(1), rtol=2e-2, atol=1e-3)
