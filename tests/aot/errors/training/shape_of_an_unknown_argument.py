# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot

model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
example = {"args": (torch.zeros(3, 2),), "targets": (torch.zeros(3, 1),)}
batch = torch.export.Dim("batch")
aot.export_training(
    model,
    torch.nn.functional.mse_loss,
    optimizer,
    **example,
    dynamic_shapes={"input": {0: batch}, "y": {0: batch}},
)
