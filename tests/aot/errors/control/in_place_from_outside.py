# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot
from shark_turbine.aot import IREE


class LoopModule(aot.CompiledModule):
    double = aot.jittable(lambda x: [x.mul_(2)][1:])

    def run(self, x=aot.AbstractTensor(1), n=aot.AbstractI64):
        aot.fori_loop(0, n, lambda i, v: self.double(x))
        return x


LoopModule()
