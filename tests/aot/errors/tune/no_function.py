# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class Empty(aot.CompiledModule):
    pass


aot.export(Empty).tune()
