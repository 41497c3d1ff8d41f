# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


class CounterModule(aot.CompiledModule):
    count = aot.export_global(aot.AbstractI32, mutable=True)

    def reset(self, value=aot.AbstractI64):
        self.count = value


CounterModule()
