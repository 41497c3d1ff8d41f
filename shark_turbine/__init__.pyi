# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
from .profiling import profile as profile

__version__: str
__all__ = ["__version__", "profile"]
