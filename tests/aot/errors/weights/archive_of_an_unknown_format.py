# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot

aot.save_module_parameters("weights.pt", torch.nn.Linear(2, 2))
