# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot

model = torch.nn.Linear(64, 64)


class TrainModule(aot.CompiledModule):
    params = aot.export_parameters(model, mutable=True)
    forward = aot.jittable(model.forward)

    def run(self, x=aot.AbstractTensor(1, 64)):
        return self.forward(x)


aot.quantize(TrainModule)
