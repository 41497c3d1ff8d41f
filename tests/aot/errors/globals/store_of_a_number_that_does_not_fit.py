# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


class StepModule(aot.CompiledModule):
    step = aot.export_global(aot.AbstractI32, mutable=True)

    def reset(self):
        self.step = 2**40


StepModule()
