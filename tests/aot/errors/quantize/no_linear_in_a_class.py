# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class MatmulModule(aot.CompiledModule):
    w = aot.export_global(torch.ones(64, 64))

    @aot.jittable
    def multiply(x, w):
        return x @ w

    def run(self, x=aot.AbstractTensor(1, 64)):
        return self.multiply(x, self.w)


aot.quantize(MatmulModule)
