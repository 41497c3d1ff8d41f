# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


class CheckModule(aot.CompiledModule):
    @aot.jittable
    def check(a):
        if a.ndim != 3:
            raise ValueError("three dims are needed")
        return a

    def run(self, a=aot.AbstractTensor(2)):
        return self.check(a)


CheckModule()
