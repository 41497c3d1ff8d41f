# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot

model = torch.nn.Sequential(torch.nn.Linear(64, 64))
with torch.no_grad():
    model[0].weight[3, 5] = torch.inf
aot.quantize(model)
