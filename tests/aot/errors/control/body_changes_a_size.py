# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot
from shark_turbine.aot import IREE


class LoopModule(aot.CompiledModule):
    grow = aot.jittable(lambda x: torch.cat([x, x]))

    def run(self, x=aot.AbstractTensor(None), n=aot.AbstractI64):
        return aot.fori_loop(0, n, lambda i, v: {"x": self.grow(v["x"])}, {"x": x})


LoopModule()
