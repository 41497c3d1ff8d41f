# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


class TwiceModule(aot.CompiledModule):
    @aot.jittable
    def add(a, b):
        b.add_(1)
        return a * b

    def run(self, x=aot.AbstractTensor(2)):
        return self.add(x, x)


aot.export(TwiceModule)
