# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


class RangeModule(aot.CompiledModule):
    def run(self, n=aot.AbstractI64):
        return list(range(n))


RangeModule()
