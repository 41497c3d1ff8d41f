# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the compiler was found to refuse, in this process and, through the disk, in earlier ones."""

from __future__ import annotations

import threading
from typing import Any

import torch
from torch import fx

from shark_turbine.compiler import remember, remembered

_NAME = "refused-operators"


class Knowledge:
    """Refused operations by their names, types and constant arguments.

    The sizes of dims do not count, but whether they are zero, one or dynamic: what has no lowering
    has none for other sizes. What fails in the generation of code is kept with its sizes.
    """

    def __init__(self, *, on_disk: bool = True) -> None:
        self._on_disk = on_disk
        self._lock = threading.Lock()
        self._refused: dict[str, str] | None = None

    def refusal(self, node: fx.Node) -> str | None:
        """Return why the compiler refuses an operation; None if it is not known to."""
        refused = self._load()
        if not refused:
            return None
        return refused.get(key(node)) or refused.get(key(node, with_sizes=True))

    def add(self, found: dict[str, str]) -> None:
        """Keep refusals: keys to reasons."""
        self._load()
        with self._lock:
            assert self._refused is not None
            self._refused.update(found)
        if self._on_disk and found:
            remember(_NAME, found)

    def _load(self) -> dict[str, str]:
        with self._lock:
            if self._refused is None:
                self._refused = dict(remembered(_NAME)) if self._on_disk else {}
            return self._refused


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
