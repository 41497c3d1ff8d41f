# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Exported procedures: public functions on builtin tensors that check, call, load and store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, assert_never

from shark_turbine import dtypes, ir
from shark_turbine.abi import iree_abi

from ..program import JitFunction, Procedure
from ..step_values import operands_of
from ..steps import (
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
from ..types import (
    AbstractIndex,
    AbstractScalar,
    AbstractTensor,
    AbstractValue,
    TensorType,
    ValueType,
)
from .bridge import from_torch, to_torch
from .globals import type_of
from .scalars import emit_cast, emit_comparison, emit_constant, emit_operation
from .tensor_operations import TensorEmitter
from .types import builtin_type
from .waiting import UnderWay, wait_for


def emit_procedure(
    procedure: Procedure,
    symbols: Mapping[str, JitFunction],
    functions: Mapping[str, Any],
    global_types: Mapping[str, AbstractValue],
    place: Any,
    context: Any,
) -> None:
    """Write a procedure as a public `func.func`."""
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
        emitter = _StepEmitter(procedure, symbols, functions, global_types, context)
        emitter.values.update(enumerate(block.arguments))
        last = emitter.emit_steps(procedure.steps, procedure.returned, block)
        with ir.InsertionPoint(last):
            emitter.wait_for_stores()
            ir.keep_alive(block.arguments)
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
        self._types = procedure.types
        self._own: set[int] = set()
        self._symbols = symbols
        self._functions = functions
        self._global_types = global_types
        self._context = context
        self._tensors = TensorEmitter(procedure.types, self.values, self._size, context)
        tensors = (name for name, kind in global_types.items() if isinstance(kind, AbstractTensor))
        self._under_way = UnderWay(procedure, tensors)

    def emit_steps(self, steps: Sequence[Step], results: Sequence[int], block: Any) -> Any:
        """Write steps from the end of a block on; return the block in which they end.

        Branches and loops are blocks of the one function, not regions of operations: there globals are
        read and written as in any code, and updated in place.
        """
        self._under_way.take()  # What other blocks have started, their own last wait is for.
        for step in steps:
            match step:
                case Cond() | While():
                    with ir.InsertionPoint(block):
                        self._wait()
                    block = (
                        self._cond(step, block)
                        if isinstance(step, Cond)
                        else self._while(step, block)
                    )
                    self._under_way.take()
                    self._under_way.add(step)
                    with ir.InsertionPoint(block):
                        self._wait()
                case _:
                    with ir.InsertionPoint(block):
                        wait_for([self.values[value] for value in self._under_way.before(step)])
                        self._emit(step)
                    self._under_way.add(step)
        with ir.InsertionPoint(block):
            ir.keep_alive(self.values[value] for value in _used_after_store(steps, results))
        return block

    def wait_for_stores(self) -> None:
        """Write that the procedure ends when what it stores is computed: results are waited for anyway."""
        _, stored = self._under_way.take()
        wait_for([self._load(symbol) for symbol in stored])

    def _wait(self) -> None:
        """Write that what follows comes after all that was started."""
        values, stored = self._under_way.take()
        wait_for([*(self.values[value] for value in values), *map(self._load, stored)])

    def _cond(self, step: Cond, block: Any) -> Any:
        """Write a branch; return the block that goes on after it."""
        on_true = block.create_after()
        on_false = on_true.create_after()
        after = on_false.create_after(*self._builtin_types(step.results))
        with ir.InsertionPoint(block):
            ir.branch_if(self.values[step.predicate], on_true, on_false)
        for place, inner in ((on_true, step.on_true), (on_false, step.on_false)):
            self._emit_block(inner, place, after, step.results)
        self.values.update(zip(step.results, after.arguments, strict=True))
        return after

    def _while(self, step: While, block: Any) -> Any:
        """Write a loop; return the block that goes on after it."""
        types = self._builtin_types(step.results)
        head = block.create_after(*types)
        body = head.create_after(*types)
        after = body.create_after(*types)
        with ir.InsertionPoint(block):
            ir.branch(head, [self.values[value] for value in step.initial])
        self.values.update(zip(step.condition.arguments, head.arguments, strict=True))
        last = self.emit_steps(step.condition.steps, step.condition.results, head)
        with ir.InsertionPoint(last):
            (goes_on,) = step.condition.results
            carried = list(head.arguments)
            ir.branch_if(self.values[goes_on], body, after, carried, carried)
        self.values.update(zip(step.body.arguments, body.arguments, strict=True))
        self._emit_block(step.body, body, head, step.results)
        self.values.update(zip(step.results, after.arguments, strict=True))
        return after

    def _emit_block(self, inner: Block, place: Any, target: Any, results: Sequence[int]) -> None:
        """Write a block's steps, and go to `target` with its results as values of the given types."""
        last = self.emit_steps(inner.steps, inner.results, place)
        with ir.InsertionPoint(last):
            values = [
                _cast_tensor(self.values[value], wanted)
                for value, wanted in zip(inner.results, self._builtin_types(results), strict=True)
            ]
            ir.branch(target, values)

    def _builtin_types(self, values: Sequence[int]) -> list[Any]:
        return [builtin_type(self._types[value], self._context) for value in values]

    def _emit(self, step: Step) -> None:
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
            case TensorOperation(result, operator):
                self.values[result] = self._tensors.emit(step)
                if operator in ("copy", "update"):
                    self._own.add(result)
            case Trace():
                self._tensors.emit_trace(step)
            case Check():
                self._check(step)
            case Cond() | While():
                raise TypeError("emit_steps writes branches and loops")
            case _:
                assert_never(step)

    def _load(self, symbol: str) -> Any:
        return ir.load_global(symbol, type_of(self._global_types[symbol], self._context))

    def _store(self, symbol: str, value: int) -> None:
        target = type_of(self._global_types[symbol], self._context)
        stored = _cast_tensor(self.values[value], target)
        ir.store_global(stored, symbol, is_own=value in self._own)

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


def _used_after_store(steps: Sequence[Step], results: Sequence[int]) -> list[int]:
    """Return the values that are stored in a global and used later: nothing may be written over them."""
    stored: dict[int, None] = {}
    used: set[int] = set(results)
    for step in reversed(steps):
        if isinstance(step, Store) and step.value in used:
            stored[step.value] = None
        used.update(operands_of(step))
    return list(stored)


def _cast_tensor(value: Any, target: Any) -> Any:
    """Change what is statically known of a tensor's shape."""
    if value.type == target:
        return value
    return ir.tensor.CastOp(target, value).result
