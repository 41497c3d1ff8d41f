# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot
from shark_turbine.aot import IREE


class LoopModule(aot.CompiledModule):
    def run(self, n=aot.AbstractI64):
        return aot.fori_loop(0, n, lambda i, v: v, torch.zeros(2))


LoopModule()
