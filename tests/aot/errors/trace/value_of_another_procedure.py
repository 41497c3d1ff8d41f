# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot

kept = []


class KeptModule(aot.CompiledModule):
    @aot.jittable
    def double(x):
        return x * 2

    def first(self, x=aot.AbstractTensor(2)):
        kept.append(self.double(x))
        return kept[0]

    def second(self):
        return self.double(kept[0])


aot.export(KeptModule)
