# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Who is to blame that a piece does not compile: each operation alone, then halves of the piece."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import fx

from shark_turbine.compiler import Depth, refusals
from shark_turbine.errors import TurbineError
from shark_turbine.fx_import.locations import source_location

from .knowledge import key
from .native import Lowered, compile_piece, lower
from .options import Options
from .pieces import Piece, cut

_TOGETHER = "the compiler fails on the operations around it together"


@dataclass(slots=True)
class Blame:
    """The refused operations of a piece with the reasons, and what is worth keeping of that."""

    nodes: dict[fx.Node, str] = field(default_factory=dict)
    lessons: dict[str, str] = field(default_factory=dict)


def blame(
    piece: Piece, options: Options, error: Exception | None, tried: set[tuple[str, str]]
) -> Blame:
    """Return at least one operation without which a piece may compile.

    Every distinct operation is tried: in Python, in the lowering of torch operators, and only when
    those find nothing, up to machine code. When all of them compile alone, the operations of the line
    that the compiler's error names are to blame, or what is left of the piece after halving it.

    Args:
        piece: what does not compile.
        options: those of the backend.
        error: what the compiler said, or what happened before it was asked.
        tried: what was found to compile alone, by depth and name; it is not tried again.
    """
    samples = _distinct(piece, with_sizes=False)
    found = Blame()
    lowered = _lower_each(piece, samples, found)
    _ask_compiler(lowered, options, "lower", found, tried)
    if not found.nodes:
        samples = _distinct(piece, with_sizes=True)
        lowered = _lower_each(piece, samples, found)
        _ask_compiler(lowered, options, "compile", found, tried)
    if found.nodes:
        return _spread(found, piece)
    suspects = _suspects(piece, error) or _smallest_failure(piece, options)
    return Blame(dict.fromkeys(suspects, _TOGETHER))


def _distinct(piece: Piece, *, with_sizes: bool) -> dict[str, fx.Node]:
    """Return the first of the operations that are the same but for where they stand."""
    samples: dict[str, fx.Node] = {}
    for node in piece.nodes:
        if node.target is not operator.getitem:
            samples.setdefault(key(node, with_sizes=with_sizes), node)
    return samples


def _lower_each(
    piece: Piece, samples: dict[str, fx.Node], found: Blame
) -> dict[tuple[str, fx.Node], Lowered]:
    lowered: dict[tuple[str, fx.Node], Lowered] = {}
    for name, node in samples.items():
        try:
            lowered[name, node] = lower(_alone(piece, node))
        except TurbineError as error:
            _note(found, name, node, error.what)
        except Exception as error:  # a decomposition or rewrite that does not take this form
            _note(found, name, node, f"{type(error).__name__}: {error}".splitlines()[0][:200])
    return lowered


def _alone(piece: Piece, node: fx.Node) -> Piece:
    """Return one operation as a piece, with all its results."""
    items = [user for user in node.users if user.target is operator.getitem]
    if items:
        return cut(piece.owner, [node, *items], items)
    return cut(piece.owner, [node], [node] if _is_tensor(node) else [])


def _is_tensor(node: fx.Node) -> bool:
    return isinstance(node.meta.get("val"), torch.Tensor)


def _ask_compiler(
    lowered: dict[tuple[str, fx.Node], Lowered],
    options: Options,
    depth: Depth,
    found: Blame,
    tried: set[tuple[str, str]],
) -> None:
    samples = [sample for sample in lowered if (depth, sample[0]) not in tried]
    modules = [lowered[sample].module for sample in samples]
    for place, reason in refusals(modules, options.flags, depth=depth).items():
        name, node = samples[place]
        _note(found, name, node, reason)
    tried.update((depth, name) for name, _ in samples if name not in found.lessons)


def _note(found: Blame, name: str, node: fx.Node, reason: str) -> None:
    found.nodes[node] = reason
    found.lessons[name] = reason


def _spread(found: Blame, piece: Piece) -> Blame:
    """Blame all operations that are the same as one that was tried."""
    for node in piece.nodes:
        for with_sizes in (False, True):
            reason = found.lessons.get(key(node, with_sizes=with_sizes))
            if reason is not None and node.target is not operator.getitem:
                found.nodes.setdefault(node, reason)
    return found


def _suspects(piece: Piece, error: Exception | None) -> list[fx.Node]:
    """Return the operations of the source line that the compiler complained of."""
    location = getattr(error, "location", None)
    if location is None:
        return []
    found = [
        node
        for node in piece.nodes
        if node.target is not operator.getitem and source_location(node) == location
    ]
    return found if len(found) < len(piece.nodes) // 2 else []


def _smallest_failure(piece: Piece, options: Options) -> list[fx.Node]:
    """Halve a piece as long as one of the halves still fails; return the operations of the last."""
    nodes = [node for node in piece.nodes if node.target is not operator.getitem]
    half = len(nodes) // 2
    for part in (nodes[:half], nodes[half:]):
        if 0 < len(part) < len(nodes):
            smaller = _part(piece, part)
            if not _compiles(smaller, options):
                return _smallest_failure(smaller, options)
    return nodes


def _part(piece: Piece, chosen: Sequence[fx.Node]) -> Piece:
    """Return some of the operations of a piece as a piece, each with the items of its result."""
    members = set(chosen)
    nodes = [
        node
        for node in piece.nodes
        if node in members or (node.target is operator.getitem and node.args[0] in members)
    ]
    return cut(piece.owner, nodes, _outputs(nodes))


def _outputs(nodes: Iterable[fx.Node]) -> list[fx.Node]:
    members = set(nodes)
    return [
        node
        for node in nodes
        if _is_tensor(node) and (not node.users or any(user not in members for user in node.users))
    ]


def _compiles(piece: Piece, options: Options) -> bool:
    try:
        compile_piece(lower(piece), options)
    except Exception:
        return False
    return True
