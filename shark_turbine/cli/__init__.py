# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The `shark-turbine` command. Each module is a command, or what one imports once it really runs.

Nothing heavy is imported before a command has understood what it is told: `--help` and mistakes cost
milliseconds.
"""

from .entry import main

__all__ = ["main"]
