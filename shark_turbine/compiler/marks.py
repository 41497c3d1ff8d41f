# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Numbers on the operations of a module, which the compiler carries along in their locations.

The number of an operation is its place in the module. Equal modules number equal operations equally,
whatever lines they came from: what is kept under numbers in the cache stays right when a file is
edited, and the lines are those of the module at hand.
"""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Any

from shark_turbine import ir
from shark_turbine.dispatches import MODULE_PREFIX, Origin
from shark_turbine.errors import SourceLocation

from .diagnostics import users_own
from .probing import walk

# A name stands alone where nothing else is known: a file is followed by a colon.
_MARK = re.compile(r'"#(\d+)"(?!:)')
_MODULE = re.compile(rf'"{MODULE_PREFIX}((?:[^"\\]|\\.)*)"(?!:)')
_PLACE = re.compile(r'"((?:[^"\\]|\\.)+)":(\d+):\d+')


def marked(module: Any) -> Any:
    """Return a copy of a module whose operations carry their numbers; weights are shared."""
    # `ip=False`: it is not to appear where the caller inserts.
    clone = module.operation.clone(ip=False)
    for number, operation in enumerate(walk(clone)):
        if number:
            operation.location = ir.Location.name(f"#{number}", operation.location, clone.context)
    return clone


def marks(location: Any) -> list[int]:
    """Return the numbers in a location, without doubles."""
    return list(dict.fromkeys(map(int, _MARK.findall(str(location)))))


def origins(module: Any, numbers: Container[int]) -> dict[int, Origin]:
    """Return where operations of a module came from, by their numbers; the silent ones are left out."""
    found: dict[int, Origin] = {}
    seen: dict[str, Origin | None] = {}
    for number, operation in enumerate(walk(module.operation)):
        if number not in numbers:
            continue
        text = str(operation.location)
        if text not in seen:
            seen[text] = _origin(text)
        origin = seen[text]
        if origin is not None:
            found[number] = origin
    return found


def _origin(text: str) -> Origin | None:
    path = _MODULE.search(text)
    places = [SourceLocation(file, int(line)) for file, line in _PLACE.findall(text)]
    known = users_own([place for place in places if place.line and place.file != "-"])
    if path is None and known is None:
        return None
    return Origin(None if path is None else path[1], known and known.without_folders())
