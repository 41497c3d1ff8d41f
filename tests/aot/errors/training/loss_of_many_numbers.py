# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot

model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
example = {"args": (torch.zeros(3, 2),), "targets": (torch.zeros(3, 1),)}
aot.export_training(model, torch.nn.MSELoss(reduction="none"), optimizer, **example)
