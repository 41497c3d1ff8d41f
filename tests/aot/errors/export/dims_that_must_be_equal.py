# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class Add(torch.nn.Module):
    def forward(self, x, y):
        return x + y


rows, columns = torch.export.dims("rows", "columns")
aot.export(
    Add(), torch.zeros(5), torch.zeros(5), dynamic_shapes={"x": {0: rows}, "y": {0: columns}}
)
