# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot

model = torch.nn.Linear(2, 2)
fxb = aot.FxProgramsBuilder(model)
fxb.export_program(model, args=(torch.zeros(2),))
