# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class PairModule(aot.CompiledModule):
    first = aot.export_global(torch.ones(2), external=True, name_mapper=lambda name: "weight")
    second = aot.export_global(torch.ones(3), external=True, name_mapper=lambda name: "weight")

    def both(self):
        return self.first, self.second


aot.export(PairModule).compile()
