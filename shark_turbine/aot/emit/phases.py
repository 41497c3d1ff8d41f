# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How far a module is lowered before it is shown or saved."""

from __future__ import annotations

from typing import Any

from shark_turbine import ir
from shark_turbine.errors import CompileError, DeclarationError

_PIPELINES = {
    "import": None,
    "input": "builtin.module(torch-to-iree)",
    "full": "builtin.module(torch-to-iree)",
}


def run_import(module: Any, import_to: str | None) -> None:
    """Lower a module in place: `import` keeps torch operations, `input` and `full` lower them.

    Raises:
        DeclarationError: `import_to` is none of these.
        CompileError: an operation cannot be lowered.
    """
    phase = "import" if import_to is None else str(import_to).lower()
    if phase not in _PIPELINES:
        raise DeclarationError(
            "import_to names how far the module is lowered",
            got=repr(import_to),
            expected="'import' (torch operations), 'input' or 'full' (lowered to IREE's input), None",
            fix='import_to="import"',
        )
    pipeline = _PIPELINES[phase]
    if pipeline is None:
        return
    try:
        with module.context:
            ir.PassManager.parse(pipeline).run(module.operation)
    except ir.MLIRError as failure:
        raise CompileError(
            "the module cannot be lowered to IREE's input",
            stage="import",
            got=failure.error_diagnostics[0].message
            if failure.error_diagnostics
            else str(failure).splitlines()[0],
            expected="operators that IREE's torch pipeline lowers",
            fix="compile() lists every operation that is not supported",
        ) from failure
