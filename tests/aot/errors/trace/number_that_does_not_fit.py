# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


class SumModule(aot.CompiledModule):
    def run(self, n=aot.AbstractI32):
        return n + 2**40


SumModule()
