# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class JoinModule(aot.CompiledModule):
    def join(self, a=aot.AbstractTensor(2), b=aot.AbstractTensor(2)):
        return torch.cat([a, b])


JoinModule()
