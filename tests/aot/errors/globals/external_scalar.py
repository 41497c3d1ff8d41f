# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


class StepModule(aot.CompiledModule):
    step = aot.export_global(aot.AbstractI64, external=True)
