# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


aot.export(torch.nn.ReLU, torch.zeros(2))
