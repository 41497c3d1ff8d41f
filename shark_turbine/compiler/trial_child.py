# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs in a child process: tries modules one by one and says which of them the compiler takes.

    python -I trial_child.py lower|compile <folder> <first> <end> <compiler options>

The modules are `<folder>/<number>.mlirbc`. A line on stdout stands for each that was begun, and one
for each that was finished: `begin 3`, `fine 3`, or `refused 3 <why>`. When the compiler takes this
process with it, the module that was begun and not finished is to blame.
"""

from __future__ import annotations

import os
import sys
from typing import Any

_PIPELINE = "builtin.module(torch-to-iree)"


def main(mode: str, folder: str, first: str, end: str, *options: str) -> None:
    """Try the modules from `first` up to, but without, `end`."""
    from iree.compiler import api, ir  # noqa: PLC0415 (nothing else of the package is needed)

    session = api.Session()
    session.set_flags(*options)
    ask = _lower if mode == "lower" else _compile
    for number in range(int(first), int(end)):
        _say(f"begin {number}")
        # What the compiler says goes to stderr, behind a line that says of which module it is.
        _say(f"module {number}", sys.stderr)
        module = ir.Module.parseFile(f"{folder}/{number}.mlirbc", session.context)
        why = ask(session, module)
        _say(f"fine {number}" if why is None else f"refused {number} {why}")


def _lower(session: Any, module: Any) -> str | None:
    """Return why the torch operators of a module cannot be lowered, None if they can."""
    from iree.compiler import ir, passmanager  # noqa: PLC0415 (nothing else of the package is needed)

    try:
        with session.context:
            passmanager.PassManager.parse(_PIPELINE).run(module.operation)
    except ir.MLIRError as error:
        diagnostics = error.error_diagnostics
        text = (diagnostics[0].message if diagnostics else str(error)).strip()
        return text.splitlines()[0][:300] if text else "the compiler refuses it"
    return None


def _compile(session: Any, module: Any) -> str | None:
    """Return why a module does not become machine code, None if it does."""
    invocation = session.invocation()
    invocation.enable_console_diagnostics()
    invocation.import_module(module.operation)
    return None if invocation.execute() else "the compiler cannot generate code for it"


def _say(line: str, file: Any = None) -> None:
    (file or sys.stdout).write(f"{line}\n")
    (file or sys.stdout).flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
    # The bindings report objects that outlive the interpreter; nothing here needs an orderly end.
    os._exit(0)
