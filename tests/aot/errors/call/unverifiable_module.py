# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


from iree.compiler.ir import InsertionPoint, Location, Operation


output = aot.export(torch.nn.Linear(2, 3), torch.zeros(2))
module = output.mlir_module
with module.context, Location.unknown(), InsertionPoint(module.body):
    Operation.create("func.return")
output.verify()
