# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


class PickModule(aot.CompiledModule):
    @aot.jittable
    def third(a):
        if a.shape[0] > 1000:
            return a[:1000]
        return a[:2]

    def run(self, a=aot.AbstractTensor(None)):
        return self.third(a)


PickModule()
