# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class Scale(torch.nn.Module):
    def forward(self, x, factor=2.0):
        return x * factor


aot.export(Scale(), torch.zeros(4), kwargs={"facter": 3.0})
