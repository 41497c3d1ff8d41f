# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


class SizedModule(aot.CompiledModule):
    @property
    def size(self):
        return 3
