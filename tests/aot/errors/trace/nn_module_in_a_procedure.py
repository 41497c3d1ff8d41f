# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


linear = torch.nn.Linear(4, 3)


class LinearModule(aot.CompiledModule):
    def run(self, x=aot.AbstractTensor(2, 4)):
        return linear(x)


LinearModule()
