# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


def half(x):
    if torch.compiler.is_exporting():
        return x / 2
    raise RuntimeError("only under export")


aot.export(half, torch.zeros(2)).tune()
