# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class DoubleModule(aot.CompiledModule):
    def run(self, x=aot.AbstractTensor(2)):
        return x


aot.export(DoubleModule, weights="external")
