# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


norm = torch.nn.BatchNorm1d(3)


class NormModule(aot.CompiledModule):
    params = aot.export_parameters(norm)
    compute = aot.jittable(norm.forward)

    def run(self, x=aot.AbstractTensor(4, 3)):
        return self.compute(x)


NormModule()
