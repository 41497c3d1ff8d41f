# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot

model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Linear(100, 64))
aot.quantize(model, bits=4, group_size=32)
