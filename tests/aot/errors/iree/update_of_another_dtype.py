# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot
from shark_turbine.aot import IREE


class CacheModule(aot.CompiledModule):
    cache = aot.export_global(aot.AbstractTensor(1, 8, 4), mutable=True)

    def run(self, x=aot.AbstractTensor(1, 1, 4, dtype=torch.float16)):
        self.cache = IREE.tensor_update(self.cache, x, 0, 0, 0)


CacheModule()
