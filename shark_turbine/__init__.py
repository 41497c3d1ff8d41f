# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""PyTorch programs, ahead of time, as IREE artifacts that run without PyTorch.

The work is in the rooms: `shark_turbine.aot` (declare, trace, emit), `shark_turbine.compiler` and
`shark_turbine.runtime`. Importing this package alone costs nothing and imports none of them, nor torch.
"""

__version__ = "0.1.0.dev0"
__all__ = ["__version__"]
