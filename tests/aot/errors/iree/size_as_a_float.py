# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot
from shark_turbine.aot import IREE


class SizeModule(aot.CompiledModule):
    def run(self, x=aot.AbstractTensor(4)):
        return IREE.tensor_dim(x, 0, dtype=torch.float32)


SizeModule()
