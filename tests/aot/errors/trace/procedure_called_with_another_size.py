# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot
from shark_turbine.aot import IREE


class CallModule(aot.CompiledModule):
    def one(self, a=aot.AbstractTensor("n"), b=aot.AbstractTensor("n")):
        return a, b

    def two(self, a=aot.AbstractTensor(2), b=aot.AbstractTensor(3)):
        return self.one(a, b)


CallModule()
