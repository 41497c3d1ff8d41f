# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class AdaptedModule(aot.CompiledModule):
    base = aot.export_global(torch.ones(2), external=True)
    adapter = aot.export_global(torch.ones(2) * 2, external=True, external_scope="adapter")

    def run(self):
        return self.base, self.adapter


aot.export(AdaptedModule).save_parameters("weights.irpa")
