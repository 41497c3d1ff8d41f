# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


class SumModule(aot.CompiledModule):
    @aot.jittable
    def double(a):
        return a * 2

    def total(self, a=aot.AbstractTensor(2)):
        self.double = a
        return a


SumModule()
