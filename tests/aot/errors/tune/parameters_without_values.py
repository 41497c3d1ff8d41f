# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class Scale(aot.CompiledModule):
    weight = aot.export_global(aot.AbstractTensor(2), external=True)

    def scale(self, x=aot.AbstractTensor(2)):
        return aot.jittable(torch.mul)(x, self.weight)


aot.export(Scale).tune(args=(torch.zeros(2),))
