# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


class SumModule(aot.CompiledModule):
    @aot.jittable
    def double(a):
        return a * 2

    def run(self, a=aot.AbstractTensor(None)):
        return self.double(a, constraints=[a.dynamic_dim(0) != 3])


SumModule()
