# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class StateModule(aot.CompiledModule):
    state = aot.export_global_tree([torch.zeros(2), torch.zeros(2), torch.zeros(2)], mutable=True)

    def update(self, new=[aot.AbstractTensor(2), aot.AbstractTensor(2)]):
        self.state = new


StateModule()
