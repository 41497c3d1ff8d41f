# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


class StepModule(aot.CompiledModule):
    step = aot.export_global(0, mutable=True)

    def reset(self):
        self.step = 0.5


StepModule()
