# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import math

import torch

import shark_turbine.aot as aot


class Scale(torch.nn.Module):
    def forward(self, x):
        return x * math.trunc(x.shape[0] * 0.7)


batch = torch.export.Dim("batch")
aot.export(Scale(), torch.zeros(12, 4), dynamic_shapes={"x": {0: batch}})
