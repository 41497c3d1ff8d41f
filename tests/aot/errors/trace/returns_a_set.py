# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


class PairModule(aot.CompiledModule):
    def pair(self, a=aot.AbstractTensor(2)):
        return {1, 2}


PairModule()
