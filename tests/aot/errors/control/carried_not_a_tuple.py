# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot
from shark_turbine.aot import IREE


class LoopModule(aot.CompiledModule):
    def run(self, x=aot.AbstractTensor(2), n=aot.AbstractI64):
        return aot.while_loop(lambda v: n > 0, lambda v: v, x)


LoopModule()
