# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


class CounterModule(aot.CompiledModule):
    start = 7

    def get(self):
        return self.start
