# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot
from shark_turbine.aot import IREE


class CallModule(aot.CompiledModule):
    def one(self, a={"x": aot.AbstractTensor(2)}):
        return a

    def two(self, a=aot.AbstractTensor(2, dtype=torch.int32)):
        return self.one({"x": a})


CallModule()
