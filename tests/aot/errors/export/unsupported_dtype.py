# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class Identity(torch.nn.Module):
    def forward(self, x):
        return x.clone()


aot.export(Identity(), torch.zeros(4, dtype=torch.complex32))
