# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


embedding = torch.nn.Embedding(10, 4)


class TiedModule(aot.CompiledModule):
    encoder = aot.export_global(embedding.weight)
    decoder = aot.export_global(embedding.weight, mutable=True)
