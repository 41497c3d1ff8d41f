# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class PhaseModule(aot.CompiledModule):
    phase = aot.export_global(torch.ones(2, dtype=torch.complex128), external=True)


PhaseModule()
