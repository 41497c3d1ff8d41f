# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class CounterModule(aot.CompiledModule):
    value = aot.export_global(torch.tensor(0, dtype=torch.int32), mutable=True)

    def update(self, new=aot.AbstractTensor(dtype=torch.int64)):
        self.value = new


CounterModule()
