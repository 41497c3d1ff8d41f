# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class Stem(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3)

    def forward(self, x):
        return self.conv(x)


batch = torch.export.Dim("batch")
aot.export(Stem(), torch.zeros(2, 4, 8, 8), dynamic_shapes={"x": {0: batch}})
