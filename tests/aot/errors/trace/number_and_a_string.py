# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


class NameModule(aot.CompiledModule):
    def run(self, n=aot.AbstractI64):
        return n + "1"


NameModule()
