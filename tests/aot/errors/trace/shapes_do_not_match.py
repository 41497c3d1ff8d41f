# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


class MatmulModule(aot.CompiledModule):
    @aot.jittable
    def multiply(a, b):
        return a @ b

    def run(self, a=aot.AbstractTensor(2, 3), b=aot.AbstractTensor(4, 5)):
        return self.multiply(a, b)


MatmulModule()
