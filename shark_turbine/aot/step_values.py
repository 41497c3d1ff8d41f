# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Which values steps use and make, and steps with other values in their place."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import assert_never

from .steps import (
    Arithmetic,
    Block,
    Call,
    Check,
    Cond,
    Constant,
    DimOf,
    Load,
    ScalarOperation,
    ScalarValue,
    Size,
    SizeExpression,
    Step,
    Store,
    TensorOperation,
    Trace,
    While,
)

Rename = Callable[[int], int]


def results_of(step: Step) -> tuple[int, ...]:
    """Return the values that a step makes; those of its blocks are theirs."""
    match step:
        case Call(results) | Cond(results) | While(results):
            return results
        case Load(result) | Constant(result) | Size(result):
            return (result,)
        case ScalarOperation(result) | TensorOperation(result):
            return (result,)
        case Store() | Check() | Trace():
            return ()
        case _:
            assert_never(step)


def operands_of(step: Step) -> Iterator[int]:
    """Yield the values that a step uses, those used inside its blocks too."""
    match step:
        case Store(_, value):
            yield value
        case Call(_, _, arguments):
            yield from arguments
        case Size(_, source):
            yield from measured(source)
        case ScalarOperation(_, _, operands):
            yield from operands
        case TensorOperation(_, _, operands, sizes):
            yield from operands
            yield from (value for size in sizes for value in measured(size))
        case Trace(_, values):
            yield from values
        case Check(left, _, right, _):
            yield from (*measured(left), *measured(right))
        case Cond(_, predicate, on_true, on_false):
            yield predicate
            yield from (*_used_in(on_true), *_used_in(on_false))
        case While(_, initial, condition, body):
            yield from initial
            yield from (*_used_in(condition), *_used_in(body))
        case Load() | Constant():
            return
        case _:
            assert_never(step)


def _used_in(block: Block) -> Iterator[int]:
    for step in block.steps:
        yield from operands_of(step)
    yield from block.results


def measured(expression: SizeExpression) -> Iterator[int]:
    """Yield the values that a size is read from."""
    match expression:
        case int():
            return
        case DimOf(value, _) | ScalarValue(value):
            yield value
        case Arithmetic(_, left, right):
            yield from measured(left)
            yield from measured(right)
        case _:
            assert_never(expression)


def stored_by(steps: Iterable[Step]) -> Iterator[str]:
    """Yield the symbols of the globals that steps write, in their blocks and functions too."""
    for step in steps:
        match step:
            case Store(symbol):
                yield symbol
            case Call(stores=stores):
                yield from stores
            case Cond(_, _, on_true, on_false):
                yield from stored_by((*on_true.steps, *on_false.steps))
            case While(_, _, condition, body):
                yield from stored_by((*condition.steps, *body.steps))
            case _:
                pass


def blocks_of(step: Step) -> tuple[Block, ...]:
    """Return the blocks of a step, in order."""
    match step:
        case Cond(_, _, on_true, on_false):
            return (on_true, on_false)
        case While(_, _, condition, body):
            return (condition, body)
        case _:
            return ()


def with_blocks(step: Step, blocks: Iterable[Block]) -> Step:
    """Return a step with other blocks in the place of its own."""
    match step:
        case Cond(results, predicate):
            return Cond(results, predicate, *blocks)
        case While(results, initial):
            return While(results, initial, *blocks)
        case _:
            return step


def rename_block(block: Block, rename: Rename) -> Block:
    """Return a block over other values."""
    return Block(
        tuple(map(rename, block.arguments)),
        tuple(rename_step(step, rename) for step in block.steps),
        tuple(map(rename, block.results)),
    )


def rename_step(step: Step, rename: Rename) -> Step:
    """Return a step over other values: what it makes, what it uses, and what its blocks hold."""

    def many(values: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(map(rename, values))

    match step:
        case Load() | Constant():
            return dataclasses.replace(step, result=rename(step.result))
        case Store():
            return dataclasses.replace(step, value=rename(step.value))
        case Call():
            return dataclasses.replace(
                step,
                results=many(step.results),
                arguments=many(step.arguments),
                aliases=tuple((rename(one), rename(other)) for one, other in step.aliases),
                constants=many(step.constants),
                updates=tuple((rename(one), rename(other)) for one, other in step.updates),
            )
        case Size(result, source):
            return Size(rename(result), DimOf(rename(source.value), source.axis))
        case ScalarOperation(result, operator, operands):
            return ScalarOperation(rename(result), operator, many(operands))
        case TensorOperation(result, operator, operands, sizes):
            renamed = tuple(rename_size(size, rename) for size in sizes)
            return TensorOperation(rename(result), operator, many(operands), renamed)
        case Trace(key, values):
            return Trace(key, many(values))
        case Check(left, relation, right, message):
            return Check(rename_size(left, rename), relation, rename_size(right, rename), message)
        case Cond(results, predicate, on_true, on_false):
            blocks = (rename_block(on_true, rename), rename_block(on_false, rename))
            return Cond(many(results), rename(predicate), *blocks)
        case While(results, initial, condition, body):
            blocks = (rename_block(condition, rename), rename_block(body, rename))
            return While(many(results), many(initial), *blocks)
        case _:
            assert_never(step)


def rename_size(expression: SizeExpression, rename: Rename) -> SizeExpression:
    """Return a size expression over other values."""
    match expression:
        case int():
            return expression
        case DimOf(value, axis):
            return DimOf(rename(value), axis)
        case ScalarValue(value):
            return ScalarValue(rename(value))
        case Arithmetic(operator, left, right):
            return Arithmetic(operator, rename_size(left, rename), rename_size(right, rename))
        case _:
            assert_never(expression)


def stored_globals(steps: Iterable[Step]) -> set[str]:
    """Return the symbols of the globals that steps store, those stored inside their blocks too."""
    found: set[str] = set()
    for step in steps:
        match step:
            case Store(symbol):
                found.add(symbol)
            case Cond(_, _, first, second) | While(_, _, first, second):
                found |= stored_globals((*first.steps, *second.steps))
            case _:
                continue
    return found
