# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


x = aot.AbstractTensor(2, dtype=torch.quint8)
