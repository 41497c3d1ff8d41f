# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


model = torch.nn.Linear(2, 2)


class WeightsModule(aot.CompiledModule):
    params = aot.export_parameters(model)

    def get(self):
        return self.params.weight


WeightsModule()
