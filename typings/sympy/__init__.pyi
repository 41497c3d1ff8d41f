# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# sympy infers types that are wider than what its functions return: everything is Any here, and the code that uses
# it says what it gets.
from typing import Any

def __getattr__(name: str) -> Any: ...
