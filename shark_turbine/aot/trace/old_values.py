# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Values of globals that outlive a later store: copied, since the artifact updates globals in place.

IREE sees that a tensor is still needed where it is read, updated and used in one block, and makes a copy,
but may update before the copy is made. It does not see that the tensor is the memory of a global, which
another block, a called function or the update of what was stored changes; nor that two globals were given
the same memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from ..step_values import blocks_of, operands_of, results_of, stored_by, with_blocks
from ..steps import Block, Call, Load, Step, Store, TensorOperation, While

_VIEWS = ("reshape", "slice")
_SAME_MEMORY = (*_VIEWS, "update")


def keep_old_values(
    steps: Iterable[Step],
    results: Sequence[int],
    symbols: set[str],
    new_value: Callable[[int], int],
    *,
    is_nested: bool = False,
) -> Iterator[Step]:
    """Yield the steps, with a copy wherever a value of a global would change under its user.

    Args:
        steps: what a procedure or a block does.
        results: what it returns.
        symbols: the mutable globals that hold tensors.
        new_value: makes a value of the type of another one.
        is_nested: whether `results` go to an enclosing block.
    """

    def keep_block(block: Block) -> Block:
        kept = keep_old_values(block.steps, block.results, symbols, new_value, is_nested=True)
        return Block(block.arguments, tuple(kept), block.results)

    opened = [with_blocks(step, map(keep_block, blocks_of(step))) for step in steps]
    inside = {value for step in opened if not blocks_of(step) for value in results_of(step)}
    borrowed = {value for step in opened for value in _borrowed(step, symbols)}
    for place, step in enumerate(opened):
        match step:
            case Load(value, symbol) | Store(symbol, value) if symbol in symbols:
                views = _aliases(value, opened, _VIEWS)
                same = _aliases(value, opened, _SAME_MEMORY)
                is_foreign = not same.isdisjoint(borrowed) or (
                    is_nested and same.isdisjoint(inside)
                )
                needs_copy = (
                    (is_nested and not views.isdisjoint(results))
                    or _outlives(step, views, opened[place + 1 :], results)
                    or _is_shared(step, same, opened, place)
                    or (is_foreign and isinstance(step, Store))
                )
                if needs_copy:
                    yield from _copied(step, new_value(value))
                else:
                    yield step
            case _:
                yield step


def _copied(step: Load | Store, other: int) -> tuple[Step, Step]:
    match step:
        case Load(value, symbol):
            return Load(other, symbol), TensorOperation(value, "copy", (other,))
        case Store(symbol, value):
            return TensorOperation(other, "copy", (value,)), Store(symbol, other)


def _outlives(
    step: Load | Store, views: set[int], later: Sequence[Step], results: Sequence[int]
) -> bool:
    """Say whether the value that is read or stored is used when its global may have changed."""
    has_changed = False
    for other in later:
        is_used = not views.isdisjoint(operands_of(other))
        if is_used and not views.isdisjoint(_passed_through(other)):
            return True  # What comes out is this memory under another name.
        is_foreign = isinstance(other, Call) or bool(blocks_of(other))
        writes = step.symbol in stored_by([other])
        if is_used and (has_changed or (writes and is_foreign)):
            return True
        has_changed = has_changed or writes
    return has_changed and not views.isdisjoint(results)


def _borrowed(step: Step, symbols: set[str]) -> tuple[int, ...]:
    """Return the values that a step makes of memory that is not its own.

    They come out of branches and loops, or are constants of the module: immutable globals too.
    """
    match step:
        case Load(result, symbol):
            return () if symbol in symbols else (result,)
        case Call(constants=constants):
            return constants
        case _:
            return results_of(step) if blocks_of(step) else ()


def _passed_through(step: Step) -> Iterator[int]:
    """Yield the values that may come out of a branch or a loop as its results."""
    if isinstance(step, While):
        yield from step.initial
    for block in blocks_of(step):
        yield from block.results
        for inner in block.steps:
            yield from _passed_through(inner)


def _is_shared(step: Load | Store, same: set[int], steps: Sequence[Step], place: int) -> bool:
    """Say whether the memory that is read, or stored, is given to another global too."""
    others = steps[:place] if isinstance(step, Store) else steps
    return any(
        isinstance(other, Store) and other.symbol != step.symbol and other.value in same
        for other in others
    )


def _aliases(value: int, steps: Sequence[Step], operators: Sequence[str]) -> set[int]:
    """Return a value and what may be the same memory under another shape."""
    group = {value}
    for step in (*reversed(steps), *steps):
        match step:
            case TensorOperation(result, operator, operands) if operator in operators:
                pairs: Sequence[tuple[int, int]] = ((result, operands[0]),)
            case Call(aliases=pairs, updates=updates):
                pairs = (*pairs, *updates) if "update" in operators else pairs
            case _:
                continue
        for pair in pairs:
            if not group.isdisjoint(pair):
                group.update(pair)
    return group
