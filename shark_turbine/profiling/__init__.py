# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Where the time goes: dispatches, measured, and mapped back to the PyTorch modules they came from."""

from .entry import profile
from .modules import ModuleTime
from .peaks import Peaks, measure_peaks
from .result import Memory, Profile
from .rows import Row

__all__ = ["Memory", "ModuleTime", "Peaks", "Profile", "Row", "measure_peaks", "profile"]
