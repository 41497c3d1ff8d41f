# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Names: of a module from its class, of a global's symbol from its attribute and path."""

from __future__ import annotations

import re

from shark_turbine.errors import DeclarationError, SourceLocation


def module_name(
    class_name: str, export_name: str | None, location: SourceLocation | None = None
) -> str:
    """Return the MLIR name of a module.

    `export_name` verbatim; else the class name less one trailing `Module`, snake_cased letter by
    letter: `BasicModule` is `basic`, `HTMLParserModule` is `h_t_m_l_parser`, `Module` is `module`.

    Raises:
        DeclarationError: `export_name` is not a non-empty string.
    """
    if export_name is None:
        stem = class_name.removesuffix("Module") or class_name
        return re.sub(r"(?<!^)(?=[A-Z])", "_", stem).lower()
    if not isinstance(export_name, str) or not export_name:
        raise DeclarationError(
            "export_name names the module in the compiled program",
            where=class_name,
            location=location,
            got=repr(export_name),
            expected="a non-empty string, or None to use the class name",
            fix=f'class {class_name}(aot.CompiledModule, export_name="module")',
        )
    return export_name


def symbol_of(attribute: str, path: str) -> str:
    """Return the symbol of a global: `_params.classifier.weight`."""
    return f"_{attribute}.{path}" if path else f"_{attribute}"


def function_symbol(function: object) -> str:
    """Return a readable symbol for a Python callable."""
    name = getattr(function, "__name__", None) or type(function).__name__
    return re.sub(r"\W+", "_", name).strip("_") or "function"
