# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class AddSeven(torch.nn.Module):
    def forward(self, x):
        return x + torch.ones(7)


aot.export(AddSeven(), torch.zeros(7), dynamic_shapes={"x": {0: torch.export.Dim.DYNAMIC}})
