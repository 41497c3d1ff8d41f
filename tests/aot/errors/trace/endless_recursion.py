# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


class LoopModule(aot.CompiledModule):
    def _again(self, a):
        return self._again(a)

    def run(self, a=aot.AbstractTensor(2)):
        return self._again(a)


LoopModule()
