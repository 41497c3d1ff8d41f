# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot

builder = aot.ParameterArchiveBuilder()
builder.add_tensor("phase", torch.ones(2, dtype=torch.complex128))
builder.save("weights.safetensors")
