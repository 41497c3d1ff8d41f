# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot
from shark_turbine.aot import IREE


class LoopModule(aot.CompiledModule):
    half = aot.jittable(lambda x: x.to(torch.float16))

    def run(self, x=aot.AbstractTensor(2), n=aot.AbstractI64):
        return aot.while_loop(lambda i, v: i < n, lambda i, v: (i + 1, self.half(v)), (0, x))


LoopModule()
