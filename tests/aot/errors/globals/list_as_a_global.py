# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class StateModule(aot.CompiledModule):
    state = aot.export_global([torch.zeros(2), torch.zeros(2)])
