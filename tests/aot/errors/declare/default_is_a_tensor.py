# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class SumModule(aot.CompiledModule):
    def total(self, x={"a": aot.AbstractTensor(2), "b": torch.zeros(2)}):
        return x
