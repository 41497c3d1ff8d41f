# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class Parts(torch.nn.Module):
    def forward(self, x):
        return {1, 2}


aot.export(Parts(), torch.zeros(4))
