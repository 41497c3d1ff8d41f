# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# IREE's bindings carry no usable type information (native modules, names made at import): everything is Any here, and
# the few files that may import them give back typed values.
from typing import Any

def __getattr__(name: str) -> Any: ...
