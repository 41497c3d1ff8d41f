# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


def add(x, y):
    return x + y


aot.export(add, torch.zeros(4))
