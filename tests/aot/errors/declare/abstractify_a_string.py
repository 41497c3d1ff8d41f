# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


signature = aot.abstractify({"name": "bert", "x": torch.zeros(2)})
