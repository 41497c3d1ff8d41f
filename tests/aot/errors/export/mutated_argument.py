# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class AddOne(torch.nn.Module):
    def forward(self, x):
        x.add_(1)
        return x


aot.export(AddOne(), torch.zeros(4))
