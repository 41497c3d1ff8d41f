# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""PyTorch programs, ahead of time, as IREE artifacts that run without PyTorch.

The work is in the rooms: `shark_turbine.aot` (declare, trace, emit), `shark_turbine.compiler` and
`shark_turbine.runtime`; `shark_turbine.profile` says where the time of what they made goes. Importing this
package alone costs nothing and imports none of them, nor torch.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0.dev0"
__all__ = ["__version__", "profile"]  # noqa: F822  # pyright: ignore[reportUnsupportedDunderAll]  see below


def __getattr__(name: str) -> Any:
    # It needs torch and IREE: `__init__.pyi` tells type checkers what it is.
    if name == "profile":
        return import_module(".profiling", __name__).profile
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
