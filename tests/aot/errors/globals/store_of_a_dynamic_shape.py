# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class CacheModule(aot.CompiledModule):
    cache = aot.export_global(torch.zeros(4, 8), mutable=True)

    def update(self, new=aot.AbstractTensor(None, 8)):
        self.cache = new


CacheModule()
