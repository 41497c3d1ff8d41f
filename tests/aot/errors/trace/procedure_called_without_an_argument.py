# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot
from shark_turbine.aot import IREE


class CallModule(aot.CompiledModule):
    def one(self, a=aot.AbstractTensor(2), k=aot.AbstractI64):
        return a, k

    def two(self, a=aot.AbstractTensor(2)):
        return self.one(a)


CallModule()
