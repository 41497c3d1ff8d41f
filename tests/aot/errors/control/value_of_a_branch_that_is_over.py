# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot
from shark_turbine.aot import IREE


class BranchModule(aot.CompiledModule):
    double = aot.jittable(lambda x: x * 2)

    def run(self, x=aot.AbstractTensor(2), n=aot.AbstractI64):
        kept = []
        aot.cond(n > 0, lambda: kept.append(self.double(x)), lambda: None)
        return kept[0]


BranchModule()
