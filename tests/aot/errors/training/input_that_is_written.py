# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot



class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(2, 1)

    def forward(self, x):
        return self.linear(x.mul_(2))


model = Model()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
example = {"args": (torch.zeros(3, 2),), "targets": (torch.zeros(3, 1),)}
aot.export_training(model, torch.nn.functional.mse_loss, optimizer, **example)
