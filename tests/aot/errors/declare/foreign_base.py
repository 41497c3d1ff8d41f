# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


class Shared:
    def get(self):
        return None


class SumModule(Shared, aot.CompiledModule):
    pass
