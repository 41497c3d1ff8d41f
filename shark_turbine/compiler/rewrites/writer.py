# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writing torch operations in front of another one, at its source line, and reading its operands."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from shark_turbine import ir

# Given a writer inside of an operation and the elements of its operands, returns the new element.
Body = Callable[..., Any]

# `!torch.vtensor<[1,?,224],f32>`
_TENSOR = re.compile(r"!torch\.vtensor<\[(?P<sizes>[0-9?,]*)\],(?P<dtype>\w+)>")


@dataclass(frozen=True, slots=True)
class Tensor:
    """A value of a static rank; sizes that are not known when compiling are None."""

    value: Any
    sizes: tuple[int | None, ...]
    dtype: str


def tensor(value: Any) -> Tensor | None:
    """Return a value that is a tensor of known rank and dtype; None of others."""
    found = _TENSOR.fullmatch(str(value.type))
    if found is None:
        return None
    sizes = [size for size in found["sizes"].split(",") if size]
    return Tensor(
        value, tuple(None if size == "?" else int(size) for size in sizes), found["dtype"]
    )


def constant(value: Any) -> Any:
    """Return the Python number, bool or word behind a value, or the list of them; None of what is none.

    Raises:
        LookupError: the value is not a constant.
    """
    operation = value.owner
    match getattr(operation, "name", None):
        case "torch.prim.ListConstruct":
            return [constant(item) for item in operation.operands]
        case "torch.constant.none":
            return None
        case (
            "torch.constant.int"
            | "torch.constant.float"
            | "torch.constant.bool"
            | "torch.constant.str"
        ):
            return operation.attributes["value"].value
        case _:
            raise LookupError(str(value))


def is_none(value: Any) -> bool:
    """Say whether a value is the constant None."""
    try:
        return constant(value) is None
    except LookupError:
        return False


def is_immutable(value: Any) -> bool:
    """Say whether a value is a constant, or is read from a global that never changes."""
    operation = value.owner
    match getattr(operation, "name", None):
        case "torch.vtensor.literal":
            return True
        case "torch_c.from_builtin_tensor":
            return is_immutable(operation.operands[0])
        case "util.global.load":
            return "is_mutable" not in _global(operation).attributes
        case _:
            return False


def is_computed_once(value: Any, most: int = 32) -> bool:
    """Say whether a value is immutable, or is made of such by at most so many operations on tensors."""
    waiting, seen = [value], 0
    while waiting:
        value = waiting.pop()
        name = getattr(value.owner, "name", "")
        if is_immutable(value) or name.startswith("torch.constant."):
            continue
        seen += 1
        if seen > most or not name.startswith(("torch.aten.", "torch.prim.ListConstruct")):
            return False
        waiting += value.owner.operands
    return True


def is_external(declared: Any) -> bool:
    """Say whether a global is a parameter that is attached when the module is loaded."""
    if "initial_value" not in declared.attributes:
        return False
    try:
        value = declared.attributes["initial_value"]
    except TypeError:  # The bindings cannot show complex elements, unless all are the same.
        return False
    # Attributes of IREE's own dialects have no class here; others may be large, and are not printed.
    return type(value) is ir.Attribute and str(value).startswith("#flow.parameter")


def _global(load: Any) -> Any:
    """Return the declaration of what is loaded."""
    module = load
    while module.parent is not None:
        module = module.parent
    return ir.SymbolTable(module)[load.attributes["global"].value]


def _kind(sizes: Sequence[int | None], dtype: str) -> str:
    shape = ",".join("?" if size is None else str(size) for size in sizes)
    return f"!torch.vtensor<[{shape}],{dtype}>"


class Writer:
    """Writes operations in front of one."""

    def __init__(self, before: Any, place: Any = None) -> None:
        self._place = place or ir.InsertionPoint(before)
        self._location = before.location
        self._context = before.context

    def call(
        self, operator: str, *operands: Any, sizes: Sequence[int | None], like: Tensor
    ) -> Tensor:
        """Write an operation on tensors, numbers and lists of either, with one tensor as its result."""
        values = [self._value(operand) for operand in operands]
        return self.torch_tensor(f"torch.aten.{operator}", values, sizes, like.dtype)

    def torch_tensor(
        self, name: str, operands: Sequence[Any], sizes: Sequence[int | None], dtype: str
    ) -> Tensor:
        """Write an operation of any dialect that has one tensor of the dialect `torch` as its result."""
        return Tensor(self.write(name, _kind(sizes, dtype), operands), tuple(sizes), dtype)

    def literal(self, values: Sequence[float], sizes: Sequence[int], dtype: str) -> Tensor:
        """Write numbers, in the order of rows, as a tensor."""
        numbers = ", ".join(map(repr, map(float, values)))
        attribute = ir.Attribute.parse(
            f"dense<[{numbers}]> : tensor<{len(values)}x{dtype}>", self._context
        )
        kind = _kind([len(values)], dtype)
        value = self.write("torch.vtensor.literal", kind, [], value=attribute)
        flat = Tensor(value, (len(values),), dtype)
        return flat if len(sizes) == 1 else self.view(flat, sizes)

    def add(self, left: Tensor, right: Tensor) -> Tensor:
        """Write a sum; it has the shape of the first."""
        return self.call("add.Tensor", left, right, 1, sizes=left.sizes, like=left)

    def subtract(self, left: Tensor, right: Tensor) -> Tensor:
        """Write a difference; it has the shape of the first."""
        return self.call("sub.Tensor", left, right, 1, sizes=left.sizes, like=left)

    def again(self, operation: Any, operands: Sequence[Any], sizes: Sequence[int | None]) -> Any:
        """Write an operation once more with operands of other sizes; return the value of its result."""
        before = tensor(operation.results[0])
        assert before is not None
        return ir.Operation.create(
            operation.name,
            results=[ir.Type.parse(_kind(sizes, before.dtype), self._context)],
            operands=operands,
            attributes={item.name: item.attr for item in operation.attributes},
            loc=operation.location,
            ip=self._place,
        ).result

    def view(self, given: Tensor, sizes: Sequence[int | None]) -> Tensor:
        """Write a tensor in another shape; one size may be unknown."""
        wanted = [-1 if size is None else size for size in sizes]
        return self.call("view", given, wanted, sizes=sizes, like=given)

    def rows(self, given: Tensor) -> Tensor:
        """Write a tensor as a matrix of its last dim."""
        *leading, last = given.sizes
        count = None if None in leading else math.prod(size or 0 for size in leading)
        return self.view(given, [count, last])

    def size(self, given: Tensor, dim: int) -> Any:
        """Write the size of a dim, as the value of a number."""
        return self.write("torch.aten.size.int", "!torch.int", [given.value, self._value(dim)])

    def permute(self, given: Tensor, order: Sequence[int]) -> Tensor:
        sizes = [given.sizes[dim] for dim in order]
        return self.call("permute", given, list(order), sizes=sizes, like=given)

    def pick(self, given: Tensor, dim: int, index: int) -> Tensor:
        """Write the part of a tensor at an index, without the dim."""
        sizes = [*given.sizes[:dim], *given.sizes[dim + 1 :]]
        return self.call("select.int", given, dim, index, sizes=sizes, like=given)

    def part(self, given: Tensor, dim: int, start: int, length: int, step: int = 1) -> Tensor:
        """Write so many parts of a tensor from an index on; the tensor itself where that is all."""
        if start == 0 and given.sizes[dim] == length:
            return given
        sizes = [*given.sizes[:dim], length, *given.sizes[dim + 1 :]]
        end = start + (length - 1) * step + 1
        return self.call("slice.Tensor", given, dim, start, end, step, sizes=sizes, like=given)

    def pad(self, given: Tensor, dim: int, behind: int) -> Tensor:
        """Write a tensor with so many zeros behind its elements along a dim."""
        if not behind:
            return given
        size = given.sizes[dim]
        sizes = [
            *given.sizes[:dim],
            None if size is None else size + behind,
            *given.sizes[dim + 1 :],
        ]
        edges = [0, 0] * (len(sizes) - 1 - dim) + [0, behind]
        return self.call("constant_pad_nd", given, edges, 0.0, sizes=sizes, like=given)

    def stack(self, parts: Sequence[Tensor], dim: int) -> Tensor:
        """Write tensors of one shape along a new dim."""
        first = parts[0].sizes
        sizes = [*first[:dim], 1, *first[dim:]]
        rows = [self.call("unsqueeze", part, dim, sizes=sizes, like=part) for part in parts]
        if len(rows) == 1:
            return rows[0]
        sizes[dim] = len(rows)
        return self.call("cat", rows, dim, sizes=sizes, like=parts[0])

    def _value(self, operand: Any) -> Any:
        if isinstance(operand, Tensor):
            return operand.value
        if isinstance(operand, list):
            kind = "vtensor" if isinstance(operand[0], Tensor) else "int"
            values = [self._value(item) for item in operand]
            return self.write("torch.prim.ListConstruct", f"!torch.list<{kind}>", values)
        if isinstance(operand, ir.Value):
            return operand
        if operand is None:
            return self.write("torch.constant.none", "!torch.none", [])
        if isinstance(operand, bool):
            attribute = ir.Attribute.parse(str(operand).lower(), self._context)
            return self.write("torch.constant.bool", "!torch.bool", [], value=attribute)
        if isinstance(operand, float):
            # By its bits: infinities have no other form.
            bits = struct.pack(">d", operand).hex()
            attribute = ir.Attribute.parse(f"0x{bits} : f64", self._context)
            return self.write("torch.constant.float", "!torch.float", [], value=attribute)
        attribute = ir.Attribute.parse(f"{operand} : i64", self._context)
        return self.write("torch.constant.int", "!torch.int", [], value=attribute)

    def write(
        self,
        name: str,
        kind: str,
        operands: Sequence[Any],
        body: Body | None = None,
        **attributes: Any,
    ) -> Any:
        """Write an operation with one result; return the value of that.

        Args:
            name: with its dialect.
            kind: the type of the result.
            operands: values.
            body: for an operation on each element, what becomes of the elements of the operands: it
                is given a writer inside, and their values, and returns the value of the new element.
            attributes: by name; text is parsed.
        """
        parsed = {
            key: ir.Attribute.parse(value, self._context) if isinstance(value, str) else value
            for key, value in attributes.items()
        }
        operation = ir.Operation.create(
            name,
            results=[ir.Type.parse(kind, self._context)],
            operands=operands,
            attributes=parsed,
            regions=0 if body is None else 1,
            loc=self._location,
            ip=self._place,
        )
        if body is not None:
            kinds = [ir.Type(getattr(value.type, "element_type", value.type)) for value in operands]
            block = operation.regions[0].blocks.append(
                *kinds, arg_locs=[self._location] * len(kinds)
            )
            inside = Writer(operation, ir.InsertionPoint(block))
            element = body(inside, *block.arguments)
            ir.Operation.create(
                "linalg.yield",
                operands=[element],
                loc=self._location,
                ip=ir.InsertionPoint(block),
            )
        return operation.result
