# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


class RangeModule(aot.CompiledModule):
    def run(self, a=aot.AbstractTensor()):
        return a.size(0)


RangeModule()
