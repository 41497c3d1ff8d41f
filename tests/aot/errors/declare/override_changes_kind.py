# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class BaseModule(aot.CompiledModule):
    value = aot.export_global(torch.zeros(2))


class DerivedModule(BaseModule):
    def value(self):
        return None
