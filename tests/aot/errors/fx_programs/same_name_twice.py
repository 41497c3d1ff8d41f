# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot

fxb = aot.FxProgramsBuilder(torch.nn.Linear(2, 2))


@fxb.export_program(args=(torch.zeros(2),))
def main(module, x):
    return module(x)


@fxb.export_program(args=(torch.zeros(2),))
def main(module, x):  # noqa: F811
    return -module(x)
