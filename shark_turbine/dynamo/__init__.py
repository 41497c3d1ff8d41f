# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The room of `torch.compile(..., backend="turbine_cpu")`: empty, there is no such backend yet.

It will turn a captured graph into an MLIR module and go on through the same compiler and runtime as
`shark_turbine.aot`, which is its sibling: neither imports the other.
"""
