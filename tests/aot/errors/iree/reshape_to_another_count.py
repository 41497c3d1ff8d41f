# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot
from shark_turbine.aot import IREE


class ReshapeModule(aot.CompiledModule):
    def run(self, x=aot.AbstractTensor(4, 3)):
        return IREE.tensor_reshape(x, 5, 2)


ReshapeModule()
