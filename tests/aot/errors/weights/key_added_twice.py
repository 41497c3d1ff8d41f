# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot

builder = aot.ParameterArchiveBuilder()
builder.add_tensor("weight", torch.ones(2))
builder.add_tensor("weight", torch.zeros(2))
