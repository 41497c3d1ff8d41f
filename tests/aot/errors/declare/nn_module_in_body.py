# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class LinearModule(aot.CompiledModule):
    linear = torch.nn.Linear(4, 3)
