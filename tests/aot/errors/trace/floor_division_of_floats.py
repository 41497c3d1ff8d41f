# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


class HalfModule(aot.CompiledModule):
    def run(self, x=aot.AbstractF32):
        return x // 2.0


HalfModule()
