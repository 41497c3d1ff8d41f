# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class StateModule(aot.CompiledModule):
    state = aot.export_global_tree({"h": torch.zeros(2), "c": torch.zeros(2)}, mutable=True)

    def update(self, h=aot.AbstractTensor(2)):
        self.state = {"h": h, "cell": h}


StateModule()
