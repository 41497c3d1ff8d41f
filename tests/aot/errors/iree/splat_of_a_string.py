# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot
from shark_turbine.aot import IREE


class SplatModule(aot.CompiledModule):
    def run(self):
        return IREE.tensor_splat(2, value="one")


SplatModule()
