# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What became of each graph: for logs, warnings and `explain`."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from shark_turbine.errors import SourceLocation


@dataclass(frozen=True, slots=True)
class PieceReport:
    """One compiled part of a graph.

    Attributes:
        operators: how many operations of PyTorch's it runs.
        device: where it runs, as `runtime.load` names devices.
        is_cached: whether it was on the disk already.
        lowering_seconds: the time of writing MLIR.
        compile_seconds: the time of compiling it, or of finding it in the cache.
    """

    operators: int
    device: str
    is_cached: bool
    lowering_seconds: float
    compile_seconds: float


@dataclass(frozen=True, slots=True)
class EagerOperator:
    """An operation that runs in eager PyTorch, and why.

    Attributes:
        name: PyTorch's, such as `aten.native_dropout.default`.
        reason: one line.
        location: the line of the program; None where it is not known.
    """

    name: str
    reason: str
    location: SourceLocation | None

    def __str__(self) -> str:
        place = f" ({self.location})" if self.location is not None else ""
        return f"{self.name}{place}: {self.reason}"


@dataclass(frozen=True, slots=True)
class GraphReport:
    """One graph that PyTorch captured.

    Attributes:
        kind: `inference`, `forward` or `backward`.
        pieces: the compiled parts.
        eager: what runs in eager PyTorch between them.
        seconds: how long compiling the graph took, all pieces together.
    """

    kind: str
    pieces: tuple[PieceReport, ...]
    eager: tuple[EagerOperator, ...]
    seconds: float

    @property
    def compiled_operators(self) -> int:
        """The number of operations that were compiled."""
        return sum(piece.operators for piece in self.pieces)

    def __str__(self) -> str:
        cached = sum(piece.is_cached for piece in self.pieces)
        compiling = sum(piece.compile_seconds for piece in self.pieces)
        head = (
            f"{self.kind} graph: {_count(self.compiled_operators, 'operator')} compiled in "
            f"{_count(len(self.pieces), 'piece')} ({cached} from the cache), {len(self.eager)} in "
            f"eager; {self.seconds:.2f} s (compiling: {compiling:.2f} s in all)"
        )
        return "\n".join([head, *(f"  eager: {line}" for line in counted(self.eager))])


@dataclass(slots=True)
class Report:
    """What `explain` gives: what became of a program.

    Attributes:
        graphs: every graph, in the order of their compilation.
        breaks: the reasons for which PyTorch cut the program into several graphs.
    """

    graphs: list[GraphReport] = field(default_factory=list)
    breaks: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, graph: GraphReport) -> None:
        """Add a `graph`; several threads may do so at once."""
        with self._lock:
            self.graphs.append(graph)

    def add_break(self, reason: Any) -> None:
        """Note the `reason` why TorchDynamo ended a graph, where that is not the end of the program."""
        if getattr(reason, "graph_break", False):
            place = reason.user_stack[-1] if reason.user_stack else None
            line = f" ({place.filename}:{place.lineno})" if place is not None else ""
            self.breaks.append(f"{reason.reason.splitlines()[0]}{line}")

    @property
    def eager(self) -> list[EagerOperator]:
        """All operations that run in eager PyTorch."""
        return [operator for graph in self.graphs for operator in graph.eager]

    def __str__(self) -> str:
        lines = [f"{_count(len(self.graphs), 'graph')}, {_count(len(self.breaks), 'graph break')}"]
        lines += [str(graph) for graph in self.graphs]
        lines += [f"break: {reason}" for reason in self.breaks]
        return "\n".join(lines)


def counted(operators: Iterable[EagerOperator]) -> list[str]:
    """Return one line for each distinct operation, with how often it occurs."""
    return [
        text if times == 1 else f"{text} ({times} times)"
        for text, times in Counter(map(str, operators)).items()
    ]


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
