# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


class LookupModule(aot.CompiledModule):
    def run(self, a=aot.AbstractTensor(2)):
        sizes = {"small": 1}
        return sizes["large"]


LookupModule()
