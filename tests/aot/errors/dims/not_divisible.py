# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


class ReshapeModule(aot.CompiledModule):
    @aot.jittable
    def fold(a):
        return a.reshape(-1, 3)

    def run(self, a=aot.AbstractTensor(None)):
        return self.fold(a)


ReshapeModule()
