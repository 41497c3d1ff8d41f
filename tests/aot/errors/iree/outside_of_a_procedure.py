# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

from shark_turbine.aot import IREE

IREE.tensor_slice(torch.ones(3), (0, 2))
