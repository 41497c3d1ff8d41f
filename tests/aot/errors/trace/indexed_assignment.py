# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class SumModule(aot.CompiledModule):
    cache = aot.export_global(torch.zeros(4, 2), mutable=True)

    def update(self, a=aot.AbstractTensor(2)):
        self.cache[0] = a


SumModule()
