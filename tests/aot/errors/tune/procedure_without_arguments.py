# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class Sum(aot.CompiledModule):
    def sum(self, x=aot.AbstractTensor(2)):
        return aot.jittable(torch.sum)(x)


aot.export(Sum).tune()
