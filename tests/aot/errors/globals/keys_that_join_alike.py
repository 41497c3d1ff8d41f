# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import torch

import shark_turbine.aot as aot


class StateModule(aot.CompiledModule):
    state = aot.export_global_tree({"a": {"b": torch.ones(2)}, "a.b": torch.zeros(2)})
