# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Operations on whole tensors: IREE's `flow.tensor.*`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, assert_never

import torch

from shark_turbine import ir

from ..steps import SizeExpression, TensorOperation, Trace
from ..types import AbstractI32, AbstractIndex, TensorType, ValueType
from .scalars import emit_constant
from .types import builtin_type, element_type


class TensorEmitter:
    """Writes the tensor operations of one procedure.

    Args:
        types: the type of every value.
        values: the MLIR value of every value that is written by now.
        size: writes a size expression as a value of type index.
        context: MLIR's.
    """

    def __init__(
        self,
        types: Sequence[ValueType],
        values: dict[int, Any],
        size: Callable[[SizeExpression], Any],
        context: Any,
    ) -> None:
        self._types = types
        self._values = values
        self._size = size
        self._context = context

    def emit(self, step: TensorOperation) -> Any:
        """Write one operation and return its result."""
        sizes = [self._size(size) for size in step.sizes]
        operands = [self._values[operand] for operand in step.operands]
        result = builtin_type(self._types[step.result], self._context)
        match step.operator:
            case "empty":
                return _create("flow.tensor.empty", result, _dynamic(result, sizes))
            case "splat":
                number = self._element(operands[0], step)
                return _create("flow.tensor.splat", result, [number, *_dynamic(result, sizes)])
            case "reshape":
                source, dims = operands[0], self._dims(step.operands[0])
                return _create(
                    "flow.tensor.reshape", result, [source], dims, _dynamic(result, sizes)
                )
            case "slice":
                count = len(sizes) // 2
                return self._slice(operands[0], sizes[:count], sizes[count:], step)
            case "update":
                return self._update(operands[0], operands[1], sizes, step)
            case "load":
                return self._load(operands[0], sizes, step)
            case "copy":
                return ir.copied_tensor(operands[0])
            case _:
                assert_never(step.operator)

    def emit_trace(self, step: Trace) -> None:
        """Write the printing of tensors."""
        dims = [dim for value in step.values for dim in self._dims(value)]
        values = [self._values[value] for value in step.values]
        ir.Operation.create(
            "flow.tensor.trace",
            operands=[*values, *dims],
            attributes={
                "key": ir.StringAttr.get(step.key),
                "operandSegmentSizes": _segments([values, dims]),
            },
        )

    def _dims(self, value: int) -> list[Any]:
        """Write the sizes of the dynamic dims of a tensor."""
        kind = self._types[value]
        assert isinstance(kind, TensorType)
        return [
            ir.tensor.DimOp(
                self._values[value], emit_constant(axis, AbstractIndex, self._context)
            ).result
            for axis, dim in enumerate(kind.shape)
            if not isinstance(dim, int)
        ]

    def _element(self, number: Any, step: TensorOperation) -> Any:
        """Convert a number to the element type of the result."""
        kind = self._types[step.result]
        assert isinstance(kind, TensorType)
        wanted = element_type(kind, self._context)
        if number.type == wanted:
            return number
        name = "arith.truncf" if kind.dtype.is_floating_point else "arith.trunci"
        return _create(name, wanted, [number])

    def _slice(
        self, source: Any, starts: list[Any], lengths: list[Any], step: TensorOperation
    ) -> Any:
        whole, part = self._types[step.operands[0]], self._types[step.result]
        result = builtin_type(part, self._context)
        if _is_one_run(whole, part):
            dims, kept = self._dims(step.operands[0]), _dynamic(result, lengths)
            return _create("flow.tensor.slice", result, [source], dims, starts, lengths, kept)
        return ir.extract_slice(result, source, starts, _dynamic(result, lengths))

    def _update(self, target: Any, update: Any, starts: list[Any], step: TensorOperation) -> Any:
        whole, part = (self._types[operand] for operand in step.operands)
        dims, update_dims = (self._dims(operand) for operand in step.operands)
        if _is_one_run(whole, part):
            groups = ([target], dims, starts, [update], update_dims)
            return _create("flow.tensor.update", target.type, *groups)
        return ir.insert_slice(update, target, starts, update_dims)

    def _load(self, source: Any, indices: list[Any], step: TensorOperation) -> Any:
        """Read an element; one bit is read as a wider number, as IREE stores it."""
        kind = self._types[step.operands[0]]
        assert isinstance(kind, TensorType)
        if kind.dtype is not torch.bool:
            return _create("tensor.extract", element_type(kind, self._context), [source, *indices])
        wide = builtin_type(TensorType(torch.int32, kind.shape), self._context)
        number = _create("tensor.extract", wide.element_type, [_widened(source, wide), *indices])
        zero = emit_constant(0, AbstractI32, self._context)
        flag = ir.IntegerType.get_signless(1, self._context)
        predicate = ir.IntegerAttr.get(ir.IntegerType.get_signless(64, self._context), 1)
        return ir.Operation.create(
            "arith.cmpi",
            results=[flag],
            operands=[number, zero],
            attributes={"predicate": predicate},
        ).result


def _is_one_run(whole: ValueType, part: ValueType) -> bool:
    """Say whether a part of a tensor is one run of its memory: `flow` operations take it for that.

    It is where some dim has before it dims of one element, and after it whole dims.
    """
    assert isinstance(whole, TensorType)
    assert isinstance(part, TensorType)
    axis = next((axis for axis, dim in enumerate(part.shape) if dim != 1), len(part.shape))
    return part.shape[axis + 1 :] == whole.shape[axis + 1 :]


def _widened(source: Any, wide: Any) -> Any:
    return _create("arith.extui", wide, [source])


def _dynamic(result: Any, sizes: Sequence[Any]) -> list[Any]:
    """Return the sizes of the dims that the type leaves open."""
    return [size for axis, size in enumerate(sizes) if result.is_dynamic_dim(axis)]


def _create(name: str, result: Any, *groups: Sequence[Any]) -> Any:
    """Write an operation; several groups of operands are told apart by their lengths."""
    attributes = {} if len(groups) == 1 else {"operandSegmentSizes": _segments(groups)}
    operands = [operand for group in groups for operand in group]
    return ir.Operation.create(
        name, results=[result], operands=operands, attributes=attributes
    ).result


def _segments(groups: Sequence[Sequence[Any]]) -> Any:
    return ir.DenseI32ArrayAttr.get([len(group) for group in groups])
