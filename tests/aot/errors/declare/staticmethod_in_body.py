# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


class TwiceModule(aot.CompiledModule):
    @staticmethod
    def twice(x=aot.AbstractTensor(2)):
        return x
