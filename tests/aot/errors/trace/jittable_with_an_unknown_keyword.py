# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


class ScaleModule(aot.CompiledModule):
    @aot.jittable
    def scale(x, *, factor):
        return x * factor

    def run(self, x=aot.AbstractTensor(4)):
        return self.scale(x, facter=2.0)


ScaleModule()
