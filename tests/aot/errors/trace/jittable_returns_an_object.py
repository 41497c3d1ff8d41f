# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


class PairModule(aot.CompiledModule):
    @aot.jittable
    def compute(a):
        return a * 2, object

    def pair(self, a=aot.AbstractTensor(2)):
        return self.compute(a)


PairModule()
