# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


any_size = torch.export.Dim.DYNAMIC
aot.export(torch.nn.Linear(2, 3), torch.zeros(1, 2), dynamic_shapes={"input": {0: any_size}})
