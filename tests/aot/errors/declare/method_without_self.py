# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


class SumModule(aot.CompiledModule):
    def total(a=aot.AbstractTensor(2), b=aot.AbstractTensor(2)):
        return a + b
