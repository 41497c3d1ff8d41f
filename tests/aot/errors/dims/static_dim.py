# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


class SumModule(aot.CompiledModule):
    @aot.jittable
    def add(a, b):
        return a + b

    def total(self, a=aot.AbstractTensor(None, 4), b=aot.AbstractTensor(3, 4)):
        return self.add(a, b, constraints=[a.dynamic_dim(0) == b.dynamic_dim(0)])


SumModule()
