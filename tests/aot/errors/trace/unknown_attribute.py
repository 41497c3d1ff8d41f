# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


class SumModule(aot.CompiledModule):
    @aot.jittable
    def compute_sum(a, b):
        return a + b

    def total(self, a=aot.AbstractTensor(2), b=aot.AbstractTensor(2)):
        return self.compute_sun(a, b)


SumModule()
