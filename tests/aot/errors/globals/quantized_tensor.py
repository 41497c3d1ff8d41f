# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class WeightsModule(aot.CompiledModule):
    weight = aot.export_global(torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.quint8))
