# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""One functional graph to one callable: cut it, compile the pieces, learn from what fails, try again."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from torch import fx

from shark_turbine.errors import CompileError
from shark_turbine.fx_import.locations import source_location

from .assembly import Plan, Run, assemble, plan
from .capability import Capability
from .fallback import announce, refuse
from .freezing import freezable
from .knowledge import Knowledge, fingerprint
from .native import Lowered, compile_piece, lower
from .options import Options
from .partition import partition
from .pieces import Piece
from .probing import blame
from .report import EagerOperator, GraphReport, PieceReport, Report
from .simplify import simplify

log = logging.getLogger(__name__)

# What the user said or the system lacks: no operator is to blame.
_NOT_OF_OPERATORS = {"options", "target", "tools", "timeout"}

# Each round finds one thing that does not compile; a piece with more of them is not worth the wait.
_MOST_ATTEMPTS = 6
_ALL_OF_IT = "the compiler fails on the piece that it is in"

Compiled = dict[int, tuple[Run, PieceReport]]
Failed = list[tuple[Piece, Exception]]


class GraphCompiler:
    """Compiles the graphs of AOTAutograd, and writes down what became of them."""

    def __init__(self, options: Options, knowledge: Knowledge, report: Report | None) -> None:
        self._options = options
        self._knowledge = knowledge
        self._report = report

    def compile(self, graph_module: fx.GraphModule, kind: str) -> Callable[[list[Any]], Any]:
        """Return a function of one list of flat values, which it empties, to flat results.

        Raises:
            UnsupportedTypeError: with `fallback="error"`, operations that cannot be compiled.
            CompileError: the options are wrong, or the compiler is missing or took too long.
        """
        start = time.perf_counter()
        simplify(graph_module.graph)
        capability = Capability(graph_module.graph, self._knowledge)
        is_frozen = self._options.freeze and kind == "inference"
        frozen = freezable(graph_module) if is_frozen else frozenset[fx.Node]()
        plan_, compiled = self._settle(graph_module, capability, frozen)
        report = GraphReport(
            kind,
            tuple(report for _, report in compiled.values()),
            tuple(_eager_operators(plan_, capability)),
            time.perf_counter() - start,
        )
        self._tell(report)
        return assemble(plan_, {place: run for place, (run, _) in compiled.items()})

    def _settle(
        self, graph_module: fx.GraphModule, capability: Capability, frozen: frozenset[fx.Node]
    ) -> tuple[Plan, Compiled]:
        """Plan and compile again until every piece compiles: each failure leaves less to compile."""
        tried: set[tuple[str, str]] = set()
        attempts = 0
        while True:
            plan_ = plan(graph_module, partition(graph_module.graph, capability.kind))
            if self._remember(plan_, capability):
                continue
            compiled, failed = self._compile_pieces(plan_, frozen)
            if not failed:
                return plan_, compiled
            attempts += 1
            for piece, error in failed:
                if attempts < _MOST_ATTEMPTS:
                    self._learn(piece, error, capability, tried)
                else:
                    capability.refuse(dict.fromkeys(piece.nodes, _ALL_OF_IT))

    def _compile_pieces(self, plan_: Plan, frozen: frozenset[fx.Node]) -> tuple[Compiled, Failed]:
        """Compile all pieces, as many at a time as there are cores; return also those that fail."""
        failed: Failed = []
        lowered: dict[int, Lowered] = {}
        for place, step in enumerate(plan_.steps):
            if isinstance(step, Piece):
                try:
                    lowered[place] = lower(step, frozen)
                except Exception as error:  # whatever it is: which operation it was is found out
                    log.debug("a piece of %d operators: %s", len(step.nodes), error)
                    failed.append((step, error))
        compiled: Compiled = {}
        for place, result in zip(lowered, self._compile_all(list(lowered.values())), strict=True):
            if isinstance(result, CompileError):
                failed.append((lowered[place].piece, result))
            else:
                compiled[place] = result
        return compiled, failed

    def _compile_all(self, lowered: list[Lowered]) -> list[tuple[Run, PieceReport] | CompileError]:
        if len(lowered) == 1:
            return [self._compile_one(lowered[0])]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(self._compile_one, lowered))

    def _compile_one(self, lowered: Lowered) -> tuple[Run, PieceReport] | CompileError:
        """Compile a piece, or return why not where its operations are to blame."""
        try:
            return compile_piece(lowered, self._options)
        except CompileError as error:
            if error.stage in _NOT_OF_OPERATORS:
                raise
            log.debug("a piece of %d operators: %s", len(lowered.piece.nodes), error)
            return error

    def _remember(self, plan_: Plan, capability: Capability) -> bool:
        """Refuse what made pieces of this plan fail before; tell whether there was any."""
        if not self._knowledge.knows_pieces:
            return False
        known = [(piece, self._knowledge.piece(fingerprint(piece))) for piece in plan_.pieces]
        for piece, refused in known:
            capability.refuse({piece.nodes[place]: why for place, why in (refused or {}).items()})
        return any(refused for _, refused in known)

    def _learn(
        self,
        piece: Piece,
        error: Exception,
        capability: Capability,
        tried: set[tuple[str, str]],
    ) -> None:
        """Find out which operations of a piece are to blame, and have them run in eager."""
        found = blame(piece, self._options, error, tried)
        self._knowledge.add(found.lessons)
        nodes = found.nodes or dict.fromkeys(piece.nodes, _ALL_OF_IT)
        capability.refuse(nodes)
        if not found.lessons:
            refused = {
                place: nodes[node] for place, node in enumerate(piece.nodes) if node in nodes
            }
            self._knowledge.add_piece(fingerprint(piece), refused)
        log.info("refused: %s", sorted({str(node.target) for node in nodes}))

    def _tell(self, report: GraphReport) -> None:
        log.info("%s", report)
        if self._report is not None:
            self._report.add(report)
        if report.eager and self._options.fallback == "error":
            raise refuse(report)
        announce(report)


def _eager_operators(plan_: Plan, capability: Capability) -> list[EagerOperator]:
    return [
        EagerOperator(str(step.target), capability.reasons[step], source_location(step))
        for step in plan_.steps
        if isinstance(step, fx.Node) and step in capability.reasons
    ]
