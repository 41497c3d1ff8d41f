# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


output = aot.export(torch.nn.Linear(2, 3), torch.zeros(4, 2))
output.compile(tune=True, target="cuda:sm_80")
