# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Our artifacts beside those of other runtimes, in one run: `python -m benchmarks.peers`."""
