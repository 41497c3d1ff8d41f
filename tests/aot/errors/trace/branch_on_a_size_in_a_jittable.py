# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


class BranchModule(aot.CompiledModule):
    @aot.jittable
    def shift(x, n):
        if n > 3:
            return x + 1
        return x - 1

    def run(self, x=aot.AbstractTensor(2), n=aot.AbstractIndex):
        return self.shift(x, n)


aot.export(BranchModule)
