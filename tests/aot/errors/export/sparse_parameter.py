# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class Weighted(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("weight", torch.eye(3).to_sparse())

    def forward(self, x):
        return x + self.weight.to_dense()


aot.export(Weighted(), torch.zeros(3, 3))
