# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class CounterModule(aot.CompiledModule):
    count = aot.export_global(torch.tensor(0), mutable=True)

    def reset(self):
        self.count = 0


CounterModule()
