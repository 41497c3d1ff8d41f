# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot

aot.export(torch.nn.Linear(2, 2), torch.ones(2), weights="no_such_folder/model.safetensors")
