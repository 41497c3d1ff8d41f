# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The list of rewrites, and how they are done.

Each computes the same as the operation that it replaces, in another form, because the compiler makes
faster code of that form for one kind of target.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from shark_turbine.compiler.probing import walk

from .convolutions import dense_as_products, depthwise_as_sums, narrow_as_products
from .heads import OPERATORS as OF_HEADS
from .heads import heads_in_place, suits_heads
from .images import OPERATORS as OF_IMAGES
from .images import rewrite_channels_last
from .images_direct import direct
from .images_padding import OPERATORS as PADDING
from .images_padding import pad_at_once
from .padding import pad_before_expansion
from .panels import OPERATORS as PRODUCTS
from .panels import in_panels, suits_panels
from .reading import OPERATORS, is_readable
from .tiled import Tile
from .turned import turn_weights
from .winograd import by_winograd, suits_winograd
from .writer import Writer

# A rule writes operations in front of one, and returns the value to use instead; None leaves it alone.
Rule = Callable[[Any, Writer], Any]


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A rule, and the names of the operations that it may match."""

    operators: frozenset[str]
    rule: Rule


REWRITES: dict[str, Rewrite] = {
    "padding-before-expansion": Rewrite(OPERATORS, pad_before_expansion),
    "depthwise-as-sums": Rewrite(OPERATORS, depthwise_as_sums),
    "winograd": Rewrite(OPERATORS, by_winograd),
    "direct-8x16": Rewrite(OPERATORS, direct),
    "channels-last": Rewrite(OF_IMAGES, rewrite_channels_last),
    "padding-at-once": Rewrite(PADDING, pad_at_once),
    "narrow-as-products": Rewrite(OPERATORS, narrow_as_products),
    "convolutions-as-products": Rewrite(OPERATORS, dense_as_products),
    # Sums in registers: 16 of 32 with AVX-512, 12 of 16 with AVX2; of a single row 4, which do not wait
    # for each other.
    "panels-8x32": Rewrite(
        PRODUCTS, in_panels((Tile(8, 32), Tile(8, 16)), (Tile(1, 64), Tile(1, 16)))
    ),
    "panels-6x16": Rewrite(
        PRODUCTS, in_panels((Tile(6, 16), Tile(12, 8)), (Tile(1, 32), Tile(1, 8)))
    ),
    "turned-weights": Rewrite(PRODUCTS, turn_weights),
    "heads-8x32": Rewrite(OF_HEADS, heads_in_place(Tile(8, 32))),
    "heads-6x16": Rewrite(OF_HEADS, heads_in_place(Tile(6, 16))),
}


def rewrite(module: Any, names: Sequence[str]) -> Any:
    """Return a copy of a module with the named rewrites done; the module itself where nothing matches.

    Each looks at what those before it have left, in the order of the names. Weights are not copied: both
    refer to the same memory.
    """
    rewrites = [REWRITES[name] for name in names]
    operators = frozenset().union(*(each.operators for each in rewrites))
    if not any(operation.name in operators for operation in walk(module.operation)):
        return module
    copy = module.operation.clone(ip=False)
    for each in rewrites:
        for operation in [item for item in walk(copy) if item.name in each.operators]:
            _apply(each.rule, operation)
        _sweep(copy)
    return copy


def is_rewritable(operation: Any) -> bool:
    """Say whether the rewrites can read a convolution."""
    return operation.name in OPERATORS and is_readable(operation)


def gains_by_winograd(operation: Any) -> bool:
    """Say whether the rewrite `winograd` matches an operation."""
    return operation.name in OPERATORS and suits_winograd(operation)


def gains_by_panels(operation: Any) -> bool:
    """Say whether the rewrites `panels-…` match an operation, but for the width of their tiles."""
    return operation.name in PRODUCTS and suits_panels(operation)


def gains_by_heads(operation: Any) -> bool:
    """Say whether the rewrites `heads-…` match an operation, but for the width of their tiles."""
    return operation.name in OF_HEADS and suits_heads(operation)


def _apply(rule: Rule, operation: Any) -> None:
    new = rule(operation, Writer(operation))
    if new is not None:
        operation.results[0].replace_all_uses_with(new)
        operation.erase()


def _sweep(module: Any) -> None:
    """Erase what is not used any more: the next rewrite asks who uses a value."""
    for operation in reversed(list(walk(module))):
        if operation.name.startswith("torch.aten.") and not any(
            any(result.uses) for result in operation.results
        ):
            operation.erase()
