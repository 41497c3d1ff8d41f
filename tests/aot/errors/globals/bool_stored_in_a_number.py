# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


class CounterModule(aot.CompiledModule):
    count = aot.export_global(aot.AbstractI64, mutable=True)

    def reset(self):
        self.count = True


CounterModule()
