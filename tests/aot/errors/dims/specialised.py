# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class ReshapeModule(aot.CompiledModule):
    @aot.jittable
    def fold(a):
        return a + torch.ones(7)

    def run(self, a=aot.AbstractTensor(None)):
        return self.fold(a)


ReshapeModule()
