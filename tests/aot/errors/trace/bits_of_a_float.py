# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot
from shark_turbine.aot import IREE


class BitsModule(aot.CompiledModule):
    def run(self, a=aot.AbstractF32):
        return a & 1


BitsModule()
