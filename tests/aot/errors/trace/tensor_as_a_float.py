# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


class SquareModule(aot.CompiledModule):
    def run(self, x=aot.AbstractTensor()):
        return float(x)


SquareModule()
