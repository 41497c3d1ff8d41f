# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


class ClampModule(aot.CompiledModule):
    def clamp(self, n=aot.AbstractI64):
        if n > 3:
            return 3
        return n


ClampModule()
