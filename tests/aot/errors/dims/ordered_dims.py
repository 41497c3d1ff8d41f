# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class SumModule(aot.CompiledModule):
    @aot.jittable
    def join(a, b):
        return torch.cat([a, b])

    def run(self, a=aot.AbstractTensor(None), b=aot.AbstractTensor(None)):
        return self.join(a, b, constraints=[a.dynamic_dim(0) < b.dynamic_dim(0)])


SumModule()
