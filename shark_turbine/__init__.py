# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""PyTorch programs, ahead of time, as IREE artifacts that run without PyTorch.

The work is in the rooms: `shark_turbine.aot` (declare, trace, emit), `shark_turbine.compiler` and
`shark_turbine.runtime`; `shark_turbine.profile` says where the time of what they made goes. Importing this
package alone costs nothing and imports none of them, nor torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .profiling import profile

__version__ = "0.1.0.dev0"
__all__ = ["__version__", "profile"]


def __getattr__(name: str) -> Any:
    if name == "profile":
        # It needs torch and IREE, which this package alone does not import.
        from .profiling import profile  # noqa: PLC0415

        globals()["profile"] = profile
        return profile
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
