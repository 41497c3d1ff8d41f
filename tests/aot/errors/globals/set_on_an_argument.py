# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


class CounterModule(aot.CompiledModule):
    def update(self, x=aot.AbstractTensor(2)):
        x.set(x)


CounterModule()
