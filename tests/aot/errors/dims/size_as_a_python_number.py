# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


class RangeModule(aot.CompiledModule):
    def run(self, a=aot.AbstractTensor(None)):
        for index in range(a.size(0)):
            pass
        return a


RangeModule()
