# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class RepeatModule(aot.CompiledModule):
    @aot.jittable
    def repeat(x, n):
        return [x for _ in range(int(n))][0]

    def run(self, x=aot.AbstractTensor(4), n=aot.AbstractTensor(dtype=torch.int64)):
        return self.repeat(x, n)


RepeatModule()
