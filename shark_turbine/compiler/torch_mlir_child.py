# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Run one of torch-mlir's pipelines over the text on stdin: a script, in a process of its own.

The MLIR libraries of the torch-mlir and IREE packages must never meet in one process, so this file
imports nothing of shark_turbine, and the rest of shark_turbine does not import this file.
"""

# The package has no types, and is an optional extra.
# pyright: basic, reportAttributeAccessIssue=false, reportMissingImports=false
# ruff: noqa: PLC0415

import re
import sys

PIPELINES = {
    "linalg-on-tensors": "torch-backend-to-linalg-on-tensors-backend-pipeline",
    "stablehlo": "torch-backend-to-stablehlo-backend-pipeline",
    "tosa": "torch-backend-to-tosa-backend-pipeline",
}
MISSING = 77


def main() -> int:
    """Lower stdin to stdout; give back the exit status."""
    try:
        from torch_mlir import ir
        from torch_mlir.dialects import torch
        from torch_mlir.passmanager import PassManager
    except ImportError as error:
        sys.stderr.write(f"{error}\n")
        return MISSING
    context = ir.Context()
    torch.register_dialect(context)
    try:
        module = ir.Module.parse(sys.stdin.buffer.read(), context)
        for pipeline in ("torchdynamo-export-to-torch-backend-pipeline", PIPELINES[sys.argv[1]]):
            PassManager.parse(f"builtin.module({pipeline})", context).run(module.operation)
    except ir.MLIRError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    text = module.operation.get_asm(enable_debug_info=sys.argv[2] == "locations")
    if "ml_program.global_load" not in text:
        text = re.sub(r"^ *ml_program\.global .*\n", "", text, flags=re.MULTILINE)
    sys.stdout.buffer.write(text.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
