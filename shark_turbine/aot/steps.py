# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The steps of a procedure: what was recorded, one frozen record each. Part of door 2.

Values are integer ids. A step that branches or loops holds `Block`s: lists of steps that may use every
value recorded before them, with arguments and results of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, assert_never


@dataclass(frozen=True, slots=True)
class DimOf:
    """The size of one dim of a tensor value."""

    value: int
    axis: int


@dataclass(frozen=True, slots=True)
class ScalarValue:
    """The number that a scalar value holds."""

    value: int


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """An operation on sizes; division rounds down."""

    operator: Literal["+", "-", "*", "//", "%"]
    left: SizeExpression
    right: SizeExpression


SizeExpression = int | DimOf | ScalarValue | Arithmetic


@dataclass(frozen=True, slots=True)
class Load:
    """Read a global."""

    result: int
    symbol: str


@dataclass(frozen=True, slots=True)
class Store:
    """Write a global."""

    symbol: str
    value: int


@dataclass(frozen=True, slots=True)
class Call:
    """Call a jit function.

    `stores` are the globals that it writes itself; `aliases` pairs each result that may be the memory of
    an argument with it, `updates` each that may be written into that memory; `constants` are the results
    that depend on nothing.
    """

    results: tuple[int, ...]
    symbol: str
    arguments: tuple[int, ...]
    stores: tuple[str, ...] = ()
    aliases: tuple[tuple[int, int], ...] = ()
    constants: tuple[int, ...] = ()
    updates: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Constant:
    """A number known at tracing."""

    result: int
    value: bool | int | float


@dataclass(frozen=True, slots=True)
class Size:
    """Read a size as a scalar of type index."""

    result: int
    source: DimOf


@dataclass(frozen=True, slots=True)
class ScalarOperation:
    """An operation on scalars of one type; `cast` converts its one operand."""

    result: int
    operator: str
    operands: tuple[int, ...]


TensorOperator = Literal["copy", "empty", "load", "reshape", "slice", "splat", "update"]


@dataclass(frozen=True, slots=True)
class TensorOperation:
    """One of IREE's operations on whole tensors; its result is a value of its own.

    ======= ===================== =========================================================
    empty   no operands           `sizes`: the shape
    splat   a scalar              `sizes`: the shape
    reshape a tensor              `sizes`: the shape, of as many elements
    slice   a tensor              `sizes`: the first index of each dim, then the lengths
    update  a tensor, the update  `sizes`: the first index of each dim
    load    a tensor              `sizes`: the index of the element, a scalar
    copy    a tensor              no sizes: memory that no later store changes
    ======= ===================== =========================================================
    """

    result: int
    operator: TensorOperator
    operands: tuple[int, ...]
    sizes: tuple[SizeExpression, ...] = ()


@dataclass(frozen=True, slots=True)
class Trace:
    """Print tensors to stderr when the artifact runs."""

    key: str
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Check:
    """Refuse the call with `message` unless `left relation right` holds, when the artifact runs."""

    left: SizeExpression
    relation: Literal["==", "!=", "<=", ">="]
    right: SizeExpression
    message: str


@dataclass(frozen=True, slots=True)
class Block:
    """Steps that run zero times, once or many times, from `arguments` to `results`."""

    arguments: tuple[int, ...]
    steps: tuple[Step, ...]
    results: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Cond:
    """Run one of two blocks, which have no arguments."""

    results: tuple[int, ...]
    predicate: int
    on_true: Block
    on_false: Block


@dataclass(frozen=True, slots=True)
class While:
    """Run `body` while `condition`, a block with one bool result, says so.

    Both blocks take the carried values; the body gives the next ones.
    """

    results: tuple[int, ...]
    initial: tuple[int, ...]
    condition: Block
    body: Block


Step = (
    Load
    | Store
    | Call
    | Constant
    | Size
    | ScalarOperation
    | TensorOperation
    | Trace
    | Check
    | Cond
    | While
)


def format_steps(steps: Iterable[Step]) -> Iterator[str]:
    """Yield the lines of the program's window for steps; blocks are indented."""
    for step in steps:
        match step:
            case Cond(results, predicate, on_true, on_false):
                yield f"{_assigned(results)}cond %{predicate}"
                yield from _format_block("true", on_true)
                yield from _format_block("false", on_false)
            case While(results, initial, condition, body):
                yield f"{_assigned(results)}while {_listed(initial)}".rstrip()
                yield from _format_block("condition", condition)
                yield from _format_block("body", body)
            case _:
                yield format_step(step)


def _format_block(name: str, block: Block) -> Iterator[str]:
    yield f"  {name}({_listed(block.arguments)})" if block.arguments else f"  {name}"
    for line in format_steps(block.steps):
        yield f"    {line}"
    yield f"    yield {_listed(block.results)}".rstrip()


def format_step(step: Step) -> str:
    """Show one step as a line of the program's window."""
    match step:
        case Load(result, symbol):
            return f"%{result} = load @{symbol}"
        case Store(symbol, value):
            return f"store @{symbol}, %{value}"
        case Call(results, symbol, arguments):
            return f"{_assigned(results)}call @{symbol}({_listed(arguments)})"
        case Constant(result, value):
            return f"%{result} = constant {value}"
        case Size(result, source):
            return f"%{result} = size {format_size(source)}"
        case ScalarOperation(result, operator, operands):
            return f"%{result} = {operator} {_listed(operands)}"
        case TensorOperation():
            return _format_tensor_operation(step)
        case Trace(key, values):
            return f"trace {key!r}, {_listed(values)}"
        case Check(left, relation, right, message):
            return f"check {format_size(left)} {relation} {format_size(right)}    # {message}"
        case Cond() | While():
            return "\n".join(format_steps([step]))
        case _:
            assert_never(step)


def _format_tensor_operation(step: TensorOperation) -> str:
    sizes = [format_size(size) for size in step.sizes]
    head = f"%{step.result} = {step.operator} {_listed(step.operands)}".rstrip()
    match step.operator:
        case "copy":
            return head
        case "empty" | "splat" | "reshape":
            return f"{head} as [{', '.join(sizes)}]"
        case "slice":
            count = len(sizes) // 2
            return f"{head} at [{', '.join(sizes[:count])}] of [{', '.join(sizes[count:])}]"
        case "load" | "update":
            return f"{head} at [{', '.join(sizes)}]"
        case _:
            assert_never(step.operator)


def format_size(expression: SizeExpression) -> str:
    """Show a size expression: `%0[1]` is dim 1 of value 0."""
    match expression:
        case int():
            return str(expression)
        case DimOf(value, axis):
            return f"%{value}[{axis}]"
        case ScalarValue(value):
            return f"%{value}"
        case Arithmetic(operator, left, right):
            return f"({format_size(left)} {operator} {format_size(right)})"
        case _:
            assert_never(expression)


def _assigned(results: tuple[int, ...]) -> str:
    return f"{_listed(results)} = " if results else ""


def _listed(values: tuple[int, ...]) -> str:
    return ", ".join(f"%{value}" for value in values)
