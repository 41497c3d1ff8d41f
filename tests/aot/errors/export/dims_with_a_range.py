# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class Head(torch.nn.Module):
    def forward(self, x):
        return x[:10] if x.shape[0] > 10 else x[:2]


batch = torch.export.Dim("batch")
aot.export(Head(), torch.zeros(12), dynamic_shapes={"x": {0: batch}})
