# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot

with torch.device("meta"):
    model, x = torch.nn.Linear(2, 2), torch.ones(2)
aot.export(model, x, weights="external").save_parameters("weights.irpa")
