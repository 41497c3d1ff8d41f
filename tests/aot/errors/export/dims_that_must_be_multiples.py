# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class Fold(torch.nn.Module):
    def forward(self, x):
        return x.reshape(-1, 3)


length = torch.export.Dim("length")
aot.export(Fold(), torch.zeros(12), dynamic_shapes={"x": {0: length}})
