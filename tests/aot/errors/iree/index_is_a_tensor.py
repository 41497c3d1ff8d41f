# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot
from shark_turbine.aot import IREE


class SliceModule(aot.CompiledModule):
    def run(self, x=aot.AbstractTensor(4), i=aot.AbstractTensor(dtype=torch.int64)):
        return IREE.tensor_slice(x, i)


SliceModule()
