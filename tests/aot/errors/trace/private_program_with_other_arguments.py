# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class Double(torch.nn.Module):
    def forward(self, x):
        return x * 2


class TwiceModule(aot.CompiledModule):
    _double = torch.export.export(Double(), (torch.zeros(3),))

    def run(self, x=aot.AbstractTensor(4)):
        return self._double(x)


TwiceModule()
