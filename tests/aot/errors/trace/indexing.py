# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


class SumModule(aot.CompiledModule):
    def first(self, a=aot.AbstractTensor(2)):
        return a[0]


SumModule()
