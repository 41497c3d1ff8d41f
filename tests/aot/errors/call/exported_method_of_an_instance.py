# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class SumModule(aot.CompiledModule):
    @aot.jittable
    def add(a, b):
        return a + b

    def total(self, a=aot.AbstractTensor(2), b=aot.AbstractTensor(2)):
        return self.add(a, b)


SumModule().total(torch.ones(2), torch.ones(2))
