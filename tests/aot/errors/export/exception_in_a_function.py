# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


def check(x):
    if x.ndim != 3:
        raise ValueError("three dims are needed")
    return x


aot.export(check, torch.zeros(4))
