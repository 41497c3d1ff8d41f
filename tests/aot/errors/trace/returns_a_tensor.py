# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class OnesModule(aot.CompiledModule):
    def ones(self):
        return torch.ones(3)


OnesModule()
