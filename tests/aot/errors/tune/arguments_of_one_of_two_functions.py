# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class Pair(aot.CompiledModule):
    def sum(self, x=aot.AbstractTensor(2)):
        return aot.jittable(torch.sum)(x)

    def mean(self, x=aot.AbstractTensor(2)):
        return aot.jittable(torch.mean)(x)


aot.export(Pair).tune(args=(torch.zeros(2),))
