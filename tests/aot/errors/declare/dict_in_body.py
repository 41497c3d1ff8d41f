# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class StateModule(aot.CompiledModule):
    state = {"h": torch.zeros(2), "c": torch.zeros(2)}
