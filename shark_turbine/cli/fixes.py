# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What mends an error, in the words of the command line: errors speak to who writes Python."""

from __future__ import annotations

import re

from shark_turbine.errors import TurbineError

_IN_PYTHON = (
    (r"aot\.export\(\.\.\., strict_export=False\)", "--no-strict"),
    (r"os\.makedirs\('(.*)'\)", r"mkdir -p '\1'"),
    (r"load\(vmfb, parameters=path of their file or folder\)", "--parameters FILE"),
    (r"load\(vmfb, parameters=\{(['\"])(.*)\1: path, \.\.\.\}\)", r"--parameters \2=FILE ..."),
    (r"compile\(\.\.\., timeout=7200\), or None for", "--timeout 7200, or 0 for"),
    (r'recipe="auto"', "--recipe auto"),
    (r"give target_backends=.*instead", "shark-turbine targets lists them"),
    (r"device='([^']*)'", r"--device \1"),
    (r"check_hashes=False", "shark_turbine.runtime.load(..., check_hashes=False)"),
)


def say_fix_for_command_line(error: TurbineError) -> None:
    """Change what an error says of its mending, where it names arguments of Python functions."""
    if error.fix is None:
        return
    fix = str(error.fix)
    for pattern, words in _IN_PYTHON:
        fix = re.sub(pattern, words, fix)
    error.change_fix(fix)
