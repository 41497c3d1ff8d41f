# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class WeightsModule(aot.CompiledModule):
    weight = aot.export_global(torch.zeros(4), external_scope="model")
