# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class StateModule(aot.CompiledModule):
    layers = aot.export_global_tree([torch.zeros(2), torch.zeros(2)])

    def get(self):
        return self.layers[2]


StateModule()
