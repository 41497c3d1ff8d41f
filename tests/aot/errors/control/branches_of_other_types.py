# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot
from shark_turbine.aot import IREE


class BranchModule(aot.CompiledModule):
    half = aot.jittable(lambda x: x.to(torch.float16))

    def run(self, x=aot.AbstractTensor(2), n=aot.AbstractI64):
        return aot.cond(n > 0, lambda: {"x": x}, lambda: {"x": self.half(x)})


BranchModule()
