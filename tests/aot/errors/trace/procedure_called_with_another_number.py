# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot
from shark_turbine.aot import IREE


class CallModule(aot.CompiledModule):
    def one(self, k=aot.AbstractI64):
        return k

    def two(self, k=aot.AbstractF32):
        return self.one(k)


CallModule()
