# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


class SumModule(aot.CompiledModule):
    @aot.jittable
    def add(a, b):
        return a + b

    def run(self, a=aot.AbstractTensor(None), b=aot.AbstractTensor(None)):
        return self.add(a, b)


SumModule()
