# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class WaveModule(aot.CompiledModule):
    wave = aot.export_global(torch.zeros(4, dtype=torch.complex128))

    def get(self):
        return self.wave


WaveModule()
