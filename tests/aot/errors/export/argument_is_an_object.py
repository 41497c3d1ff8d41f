# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class Scale(torch.nn.Module):
    def forward(self, x, options):
        return x * options.factor


class Options:
    factor = 2


aot.export(Scale(), torch.zeros(4), Options())
