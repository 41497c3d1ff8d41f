# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class SumModule(aot.CompiledModule):
    def total(self, a=aot.AbstractTensor(2)):
        return torch.relu(a)


SumModule()
