# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiled modules as Python functions on torch tensors and numpy arrays.

import shark_turbine.runtime as rt

module = rt.load("model.vmfb")
y = module.main(x)
"""

from ..versions import require

require("iree-base-runtime")
require("torch")

from .direct import direct  # noqa: E402  after the check of the versions
from .function import LoadedFunction  # noqa: E402
from .load import load  # noqa: E402
from .module import LoadedModule  # noqa: E402
from .parameters import parameters_in_memory  # noqa: E402
from .state import IncompatibleKeys  # noqa: E402

__all__ = [
    "IncompatibleKeys",
    "LoadedFunction",
    "LoadedModule",
    "direct",
    "load",
    "parameters_in_memory",
]
