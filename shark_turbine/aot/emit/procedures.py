# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Exported procedures: public functions on builtin tensors that check, call, load and store."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any, assert_never

from shark_turbine import dtypes, ir
from shark_turbine.abi import iree_abi

from ..program import (
    Arithmetic,
    Call,
    Check,
    Constant,
    DimOf,
    JitFunction,
    Load,
    Procedure,
    ScalarOperation,
    ScalarValue,
    Size,
    SizeExpression,
    Step,
    Store,
)
from ..types import AbstractIndex, AbstractScalar, AbstractValue, TensorType, ValueType
from .bridge import from_torch, to_torch
from .globals import type_of
from .scalars import emit_cast, emit_comparison, emit_constant, emit_operation
from .types import builtin_type


def emit_procedure(
    procedure: Procedure,
    symbols: Mapping[str, JitFunction],
    functions: Mapping[str, Any],
    global_types: Mapping[str, AbstractValue],
    changing: Set[str],
    place: Any,
    context: Any,
) -> None:
    """Write a procedure as a public `func.func`.

    Args:
        procedure: what was recorded.
        symbols: the jit functions.
        functions: the same as they stand in the module.
        global_types: the types of the globals.
        changing: the globals that some procedure of the module stores.
        place: where to write.
        context: the MLIR context.
    """
    location = (
        ir.Location.unknown(context)
        if procedure.location is None
        else ir.Location.file(procedure.location.file, procedure.location.line, 0, context)
    )
    inputs = [builtin_type(kind, context) for kind in procedure.argument_types]
    results = [builtin_type(kind, context) for kind in procedure.result_types]
    with location:
        function = ir.func.FuncOp(
            procedure.symbol, ir.FunctionType.get(inputs, results, context), ip=place
        )
        _reflect(function, procedure)
        block = ir.Block.create_at_start(function.body, inputs)
        with ir.InsertionPoint(block):
            emitter = _StepEmitter(procedure, symbols, functions, global_types, context)
            emitter.values.update(enumerate(block.arguments))
            for step in procedure.steps:
                emitter.emit(step)
            ir.keep_alive([*block.arguments, *emitter.unchanged(changing)])
            ir.func.ReturnOp([emitter.values[value] for value in procedure.returned])


def _reflect(function: Any, procedure: Procedure) -> None:
    """Attach what stock `iree.runtime` needs to pack arguments and rebuild results."""
    abi = iree_abi(procedure.signature)
    if abi is not None:
        function.attributes["iree.reflection"] = ir.DictAttr.get(
            {"iree.abi": ir.StringAttr.get(abi)}
        )
    unsigned = [
        isinstance(kind, TensorType) and dtypes.from_torch(kind.dtype).name.startswith("u")
        for kind in procedure.result_types
    ]
    if any(unsigned):
        function.attributes["res_attrs"] = ir.ArrayAttr.get(
            [_encoding(kind) for kind in procedure.result_types]
        )


def _encoding(kind: ValueType) -> Any:
    """Say that a result is unsigned: builtin tensors do not."""
    if not isinstance(kind, TensorType):
        return ir.DictAttr.get({})
    row = dtypes.from_torch(kind.dtype)
    if not row.name.startswith("u"):
        return ir.DictAttr.get({})
    dims = "".join(f"{dim}x" if isinstance(dim, int) else "?x" for dim in kind.shape)
    encoding = ir.Type.parse(f"tensor<{dims}{row.torch_mlir}>")
    return ir.DictAttr.get({"iree.abi.encoding": ir.TypeAttr.get(encoding)})


class _StepEmitter:
    """Writes the steps of one procedure; `values` maps value ids to MLIR values."""

    def __init__(
        self,
        procedure: Procedure,
        symbols: Mapping[str, JitFunction],
        functions: Mapping[str, Any],
        global_types: Mapping[str, AbstractValue],
        context: Any,
    ) -> None:
        self.values: dict[int, Any] = {}
        self._loaded: dict[str, Any] = {}
        self._stored: set[str] = set()
        self._types = procedure.types
        self._symbols = symbols
        self._functions = functions
        self._global_types = global_types
        self._context = context

    def emit(self, step: Step) -> None:
        match step:
            case Load(result, symbol):
                self.values[result] = self._load(symbol)
            case Store(symbol, value):
                self._store(symbol, value)
            case Call():
                self._call(step)
            case Constant(result, value):
                self.values[result] = emit_constant(value, self._scalar(result), self._context)
            case Size(result, source):
                self.values[result] = self._dim(source)
            case ScalarOperation(result, operator, operands):
                self.values[result] = emit_operation(
                    operator,
                    [self.values[operand] for operand in operands],
                    self._scalar(operands[0]),
                    self._scalar(result),
                    self._context,
                )
            case Check():
                self._check(step)
            case _:
                assert_never(step)

    def unchanged(self, changing: Set[str]) -> list[Any]:
        """Return what was loaded of changing globals that this procedure itself does not change.

        IREE writes in place into what it takes for used up, and stores it into another global.
        """
        if not self._stored:
            return []
        return [
            value
            for symbol, value in self._loaded.items()
            if symbol in changing and symbol not in self._stored
        ]

    def _load(self, symbol: str) -> Any:
        value = ir.Operation.create(
            "util.global.load",
            results=[type_of(self._global_types[symbol], self._context)],
            attributes={"global": ir.FlatSymbolRefAttr.get(symbol)},
        ).result
        self._loaded[symbol] = value
        return value

    def _store(self, symbol: str, value: int) -> None:
        self._stored.add(symbol)
        target = type_of(self._global_types[symbol], self._context)
        ir.store_global(_cast_tensor(self.values[value], target), symbol)

    def _call(self, step: Call) -> None:
        declared = self._symbols[step.symbol]
        function = self._functions[step.symbol]
        operands = [
            to_torch(self.values[value], self._types[value], parameter, torch_type, self._context)
            for value, parameter, torch_type in zip(
                step.arguments, declared.parameters, function.type.inputs, strict=True
            )
        ]
        call = ir.func.CallOp(
            list(function.type.results), ir.FlatSymbolRefAttr.get(step.symbol), operands
        )
        for result, kind, value in zip(step.results, declared.results, call.results, strict=True):
            outer = builtin_type(self._types[result], self._context)
            self.values[result] = _cast_tensor(from_torch(value, kind, self._context), outer)

    def _check(self, step: Check) -> None:
        condition = emit_comparison(
            step.relation,
            self._size(step.left),
            self._size(step.right),
            AbstractIndex,
            self._context,
        )
        ir.Operation.create(
            "cf.assert", operands=[condition], attributes={"msg": ir.StringAttr.get(step.message)}
        )

    def _size(self, expression: SizeExpression) -> Any:
        match expression:
            case int():
                return emit_constant(expression, AbstractIndex, self._context)
            case DimOf():
                return self._dim(expression)
            case ScalarValue(value):
                kind = self._scalar(value)
                return emit_cast(self.values[value], kind, AbstractIndex, self._context)
            case Arithmetic(operator, left, right):
                operands = [self._size(left), self._size(right)]
                return emit_operation(
                    operator, operands, AbstractIndex, AbstractIndex, self._context
                )
            case _:
                assert_never(expression)

    def _dim(self, source: DimOf) -> Any:
        axis = emit_constant(source.axis, AbstractIndex, self._context)
        return ir.tensor.DimOp(self.values[source.value], axis).result

    def _scalar(self, value: int) -> AbstractScalar:
        kind = self._types[value]
        if not isinstance(kind, AbstractScalar):
            raise TypeError(f"value %{value} is no scalar: {kind}")
        return kind


def _cast_tensor(value: Any, target: Any) -> Any:
    """Change what is statically known of a tensor's shape."""
    if value.type == target:
        return value
    return ir.tensor.CastOp(target, value).result
