# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


class BranchModule(aot.CompiledModule):
    @aot.jittable
    def pick(x):
        if x.sum() > 0:
            return x
        return -x

    def run(self, x=aot.AbstractTensor(4)):
        return self.pick(x)


BranchModule()
