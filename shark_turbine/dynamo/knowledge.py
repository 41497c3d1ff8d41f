# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the compiler was found to refuse, in this process and, through the disk, in earlier ones."""

from __future__ import annotations

import hashlib
import threading
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import fx

from shark_turbine.cache_folder import remember, remembered

from .pieces import Piece

_OPERATORS = "refused-operators"
_PIECES = "refused-in-pieces"
_PACKAGE = Path(__file__).parents[1]


class Knowledge:
    """Refused operations by their names, types and constant arguments.

    The sizes of dims do not count, but whether they are zero, one or dynamic: what has no lowering
    has none for other sizes. What fails in the generation of code is kept with its sizes. Pieces that
    fail although each of their operations compiles alone are kept whole, with the places of
    those that then ran in eager.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._facts: dict[str, dict[str, Any]] = {}

    def refusal(self, node: fx.Node) -> str | None:
        """Return why the compiler refuses an operation; None if it is not known to."""
        refused = self._load(_OPERATORS)
        if not refused:
            return None
        return refused.get(key(node)) or refused.get(key(node, with_sizes=True))

    def add(self, found: dict[str, str]) -> None:
        """Keep refusals of operations: keys to reasons."""
        self._add(_OPERATORS, found)

    @property
    def knows_pieces(self) -> bool:
        """Whether any piece is known to have failed."""
        return bool(self._load(_PIECES))

    def piece(self, name: str) -> dict[int, str] | None:
        """Return the places and reasons of what runs in eager of a piece that failed before."""
        known = self._load(_PIECES).get(name)
        return None if known is None else {int(place): reason for place, reason in known.items()}

    def add_piece(self, name: str, refused: dict[int, str]) -> None:
        """Keep what runs in eager of a piece."""
        self._add(_PIECES, {name: {str(place): reason for place, reason in refused.items()}})

    def _add(self, name: str, found: dict[str, Any]) -> None:
        facts = self._load(name)
        with self._lock:
            facts.update(found)
        if found:
            remember(f"{name}-{_source()}", found)

    def _load(self, name: str) -> dict[str, Any]:
        with self._lock:
            if name not in self._facts:
                self._facts[name] = dict(remembered(f"{name}-{_source()}"))
            return self._facts[name]


@cache
def _source() -> str:
    """Return what changes with the source of this package: another decomposition, another refusal."""
    newest = max(path.stat().st_mtime_ns for path in _PACKAGE.rglob("*.py"))
    return f"{newest:x}"


def fingerprint(piece: Piece) -> str:
    """Return what pieces of the same operations over values of the same types have in common."""
    names = {node: f"%{place}" for place, node in enumerate((*piece.inputs, *piece.nodes))}
    lines = [
        f"{[names.get(source, str(source)) for source in node.all_input_nodes]} "
        f"{key(node, with_sizes=True)}"
        for node in piece.nodes
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def key(node: fx.Node, *, with_sizes: bool = False) -> str:
    """Return what operations that are refused alike have in common."""

    def shown(argument: Any) -> str:
        if isinstance(argument, fx.Node):
            return _value(argument.meta.get("val"), with_sizes)
        if isinstance(argument, (list, tuple)):
            return f"[{', '.join(map(shown, argument))}]"
        return repr(argument) if not isinstance(argument, float) else f"{argument:g}"

    arguments = [*map(shown, node.args), *(f"{k}={shown(v)}" for k, v in node.kwargs.items())]
    return f"{node.target}({', '.join(arguments)})"


def _value(value: Any, with_sizes: bool) -> str:
    if isinstance(value, torch.Tensor):
        dtype = str(value.dtype).removeprefix("torch.")
        return f"{dtype}[{','.join(_size(size, with_sizes) for size in value.shape)}]"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_value(item, with_sizes) for item in value)}]"
    return type(value).__name__


def _size(size: Any, with_sizes: bool) -> str:
    if not isinstance(size, int):
        return "?"
    return str(size) if with_sizes or size < 2 else "n"
