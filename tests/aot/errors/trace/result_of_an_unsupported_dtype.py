# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class HalfModule(aot.CompiledModule):
    @aot.jittable
    def narrow(x):
        return x.to(torch.complex32)

    def run(self, x=aot.AbstractTensor(4, dtype=torch.complex64)):
        return self.narrow(x)


HalfModule()
