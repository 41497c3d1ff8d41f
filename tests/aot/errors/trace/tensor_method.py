# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class SumModule(aot.CompiledModule):
    def total(self, a=aot.AbstractTensor(2, dtype=torch.int32)):
        return a.to(torch.float32)


SumModule()
