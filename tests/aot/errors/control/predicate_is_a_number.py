# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot
from shark_turbine.aot import IREE


class BranchModule(aot.CompiledModule):
    def run(self, n=aot.AbstractI64):
        return aot.cond(n, lambda: 1, lambda: 2)


BranchModule()
