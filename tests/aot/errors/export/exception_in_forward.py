# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class Check(torch.nn.Module):
    def forward(self, x):
        if x.ndim != 3:
            raise ValueError("three dims are needed")
        return x


aot.export(Check(), torch.zeros(4))
