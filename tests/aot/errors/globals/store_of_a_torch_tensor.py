# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class CacheModule(aot.CompiledModule):
    cache = aot.export_global(torch.zeros(4), mutable=True)

    def reset(self):
        self.cache = torch.zeros(4)


CacheModule()
