# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot
from shark_turbine.aot import IREE


class UpdateModule(aot.CompiledModule):
    def run(self, x=aot.AbstractTensor(4)):
        return IREE.tensor_update(x, torch.ones(1), 0)


UpdateModule()
