# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot
from shark_turbine.aot import IREE


class LoadModule(aot.CompiledModule):
    def run(self, x=aot.AbstractTensor(4, dtype=torch.float16)):
        return IREE.tensor_load(x, 0)


LoadModule()
