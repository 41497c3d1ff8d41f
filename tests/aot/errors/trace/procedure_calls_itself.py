# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


class SumModule(aot.CompiledModule):
    def one(self, a=aot.AbstractTensor(2)):
        return self.two(a)

    def two(self, a=aot.AbstractTensor(2)):
        return self.one(a)


SumModule()
