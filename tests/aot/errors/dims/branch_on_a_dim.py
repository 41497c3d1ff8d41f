# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


class SumModule(aot.CompiledModule):
    def run(self, a=aot.AbstractTensor(None)):
        if a.dynamic_dim(0):
            return a
        return None


SumModule()
