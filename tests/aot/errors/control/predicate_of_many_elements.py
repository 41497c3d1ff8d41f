# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot
from shark_turbine.aot import IREE


class BranchModule(aot.CompiledModule):
    def run(self, p=aot.AbstractTensor(2, dtype=torch.bool)):
        return aot.cond(p, lambda: 1, lambda: 2)


BranchModule()
