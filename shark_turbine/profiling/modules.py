# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Times by PyTorch module: a tree like the model's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from .rows import Row
from .text import number, percent, unit_of


@dataclass(slots=True)
class ModuleTime:
    """A module, and the time of all dispatches that came from it and from what is inside it.

    A dispatch in which several modules were fused counts for the most important one.

    Attributes:
        path: the qualified name, such as `encoder.layer.3`; empty for the root.
        seconds: in one call.
        own_seconds: of them, those of the module's own lines.
        share: of the time of the whole call, from 0 to 1.
        calls: how many dispatches one call makes.
        flops: how many operations they take; None where one of them is not known.
        children: the modules inside it.
    """

    path: str
    seconds: float = 0.0
    own_seconds: float = 0.0
    share: float = 0.0
    calls: float = 0.0
    flops: int | None = 0
    children: list[ModuleTime] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition(".")[2]

    def __iter__(self) -> Iterator[ModuleTime]:
        """Yield the module and all inside it."""
        yield self
        for child in self.children:
            yield from child

    def __getitem__(self, path: str) -> ModuleTime:
        """Return the module at a path below the root, such as `encoder.layer.3`."""
        for module in self:
            if module.path == path:
                return module
        raise KeyError(path)

    def __str__(self) -> str:
        return "\n".join(self._lines(0, *unit_of(self.seconds)))

    def _lines(self, depth: int, unit: str, scale: float) -> list[str]:
        label = "  " * depth + (self.name or "(root)")
        line = f"{number(self.seconds * scale):>8} {unit} {percent(self.share):>8}  {label}"
        below = (child._lines(depth + 1, unit, scale) for child in self.children)
        return [line, *(text for lines in below for text in lines)]

    def to_json(self) -> dict[str, Any]:
        """Return the tree as JSON can hold it."""
        return {
            "path": self.path,
            "seconds": self.seconds,
            "own_seconds": self.own_seconds,
            "share": self.share,
            "calls": self.calls,
            "flops": self.flops,
            "children": [child.to_json() for child in self.children],
        }


def by_module(rows: Sequence[Row]) -> ModuleTime:
    """Return the tree of the modules that rows came from; what came from none counts for the root."""
    root = ModuleTime("")
    for row in rows:
        path = row.module_path or ""
        module = root
        _add(module, row, is_own=not path)
        parts = path.split(".") if path else []
        for place in range(len(parts)):
            below = ".".join(parts[: place + 1])
            module = _child(module, below)
            _add(module, row, is_own=place == len(parts) - 1)
    for module in root:
        module.children.sort(key=lambda child: -child.seconds)
    return root


def _child(module: ModuleTime, path: str) -> ModuleTime:
    for child in module.children:
        if child.path == path:
            return child
    module.children.append(ModuleTime(path))
    return module.children[-1]


def _add(module: ModuleTime, row: Row, *, is_own: bool) -> None:
    module.seconds += row.seconds
    module.share += row.share
    if row.kind == "dispatch":
        module.calls += row.calls
        known = module.flops is not None and row.flops is not None
        module.flops = module.flops + row.flops if known else None  # type: ignore[operator]
    if is_own:
        module.own_seconds += row.seconds
