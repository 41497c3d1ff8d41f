# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The only door to IREE's MLIR bindings, with the type constructors that the emitters share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import IO, Any

from iree.compiler import ir as _ir
from iree.compiler.dialects import arith, func, tensor, util
from iree.compiler.passmanager import PassManager

from . import dtypes
from .files import new_file

ArrayAttr = _ir.ArrayAttr
Attribute = _ir.Attribute
Block = _ir.Block
Context = _ir.Context
DenseElementsAttr = _ir.DenseElementsAttr
DenseI32ArrayAttr = _ir.DenseI32ArrayAttr
DenseResourceElementsAttr = _ir.DenseResourceElementsAttr
DictAttr = _ir.DictAttr
FloatAttr = _ir.FloatAttr
FlatSymbolRefAttr = _ir.FlatSymbolRefAttr
FunctionType = _ir.FunctionType
IndexType = _ir.IndexType
InsertionPoint = _ir.InsertionPoint
IntegerAttr = _ir.IntegerAttr
IntegerType = _ir.IntegerType
Location = _ir.Location
MLIRError = _ir.MLIRError
Module = _ir.Module
Operation = _ir.Operation
RankedTensorType = _ir.RankedTensorType
StringAttr = _ir.StringAttr
SymbolTable = _ir.SymbolTable
Type = _ir.Type
TypeAttr = _ir.TypeAttr
UnitAttr = _ir.UnitAttr
Value = _ir.Value

__all__ = [
    "ArrayAttr",
    "Attribute",
    "Block",
    "Context",
    "DenseElementsAttr",
    "DenseI32ArrayAttr",
    "DenseResourceElementsAttr",
    "DictAttr",
    "FlatSymbolRefAttr",
    "FloatAttr",
    "FunctionType",
    "IndexType",
    "InsertionPoint",
    "IntegerAttr",
    "IntegerType",
    "Location",
    "MLIRError",
    "Module",
    "Operation",
    "PassManager",
    "RankedTensorType",
    "StringAttr",
    "SymbolTable",
    "Type",
    "TypeAttr",
    "UnitAttr",
    "Value",
    "arith",
    "branch",
    "branch_if",
    "copied_tensor",
    "func",
    "keep_alive",
    "own_memory",
    "store_global",
    "tensor",
    "tensor_type",
    "torch_tensor_type",
    "util",
    "write_bytecode",
    "write_module",
]


def tensor_type(dtype: dtypes.DType, shape: Sequence[int | None], context: Any) -> Any:
    """Return the builtin `tensor<...>` type; None is a dynamic dim."""
    dims = "".join("?x" if dim is None else f"{dim}x" for dim in shape)
    return Type.parse(f"tensor<{dims}{dtype.mlir}>", context)


def torch_tensor_type(dtype: dtypes.DType, shape: Sequence[int | None], context: Any) -> Any:
    """Return the `!torch.vtensor<...>` type; None is a dynamic dim."""
    dims = ",".join("?" if dim is None else str(dim) for dim in shape)
    return Type.parse(f"!torch.vtensor<[{dims}],{dtype.torch_mlir}>", context)


def write_module(module: Any, path: str | PathLike[str]) -> None:
    """Write a module as bytecode (`.mlirbc`) or as text (any other ending), weights included.

    The file appears whole or not at all; an older one survives a failure.

    Raises:
        SaveError: the path cannot be written.
    """
    path = Path(path)
    with new_file(path) as (file, publish):
        if path.suffix == ".mlirbc":
            write_bytecode(module, file)
        else:
            module.operation.print(file=file, binary=True)
        publish()


def write_bytecode(module: Any, file: IO[bytes]) -> None:
    """Write a module as bytecode to the start of an open file, without a copy in memory."""
    # By name: through the Python file the bindings would collect all of it first.
    module.operation.write_bytecode(f"/dev/fd/{file.fileno()}")


def store_global(value: Any, symbol: str) -> None:
    """Write the store of a value into a `util.global` at the insertion point.

    A global never shares memory with another one, nor with a value that outlives the store: see
    `own_memory`.
    """
    Operation.create(
        "util.global.store",
        operands=[own_memory(value)],
        attributes={"global": FlatSymbolRefAttr.get(symbol)},
    )


def own_memory(value: Any) -> Any:
    """Return a value equal to `value` whose memory is nobody else's, for a global to hold.

    IREE keeps equal values once and writes globals in place, but does not know that two globals may
    hold one buffer: after `self.a = x; self.b = x` a write to `a` changed `b`. Writing no rows over
    it, where the compiler cannot know that there are none, makes it copy a value that is used
    elsewhere, and costs nothing where it is not. A number only needs to be hidden: IREE merges a
    global whose every store is a load of another one with it, although the other may change later.
    """
    kind = value.type
    if not isinstance(kind, RankedTensorType) or not kind.has_static_shape or 0 in kind.shape:
        return _hidden(value)
    if kind.rank == 0:
        row = RankedTensorType.get([1], kind.element_type)
        return _reshape(own_memory(_reshape(value, row)), kind)
    rows = RankedTensorType.get(
        [RankedTensorType.get_dynamic_size(), *kind.shape[1:]], kind.element_type
    )
    zero = arith.ConstantOp(IndexType.get(), 0).result
    none = _hidden(zero)
    nothing = _flow("empty", rows, [none])
    operands = [value, *[zero] * kind.rank, nothing, none]
    return _flow("update", kind, operands, 1, 0, kind.rank, 1, 1)


def _reshape(value: Any, kind: Any) -> Any:
    return _flow("reshape", kind, [value], 1, 0, 0)


def _flow(name: str, result: Any, operands: Sequence[Any], *segments: int) -> Any:
    """Write a `flow.tensor` operation; `segments` are the lengths of its groups of operands."""
    attributes = {"operandSegmentSizes": DenseI32ArrayAttr.get(list(segments))} if segments else {}
    operation = Operation.create(
        f"flow.tensor.{name}", results=[result], operands=operands, attributes=attributes
    )
    return operation.result


def _hidden(value: Any) -> Any:
    """Return a value of which the compiler knows nothing."""
    return Operation.create(
        "util.optimization_barrier", results=[value.type], operands=[value]
    ).result


def keep_alive(arguments: Iterable[Any]) -> None:
    """Keep tensor arguments alive up to the insertion point, before a function returns.

    IREE updates in place what nobody reads any more. Callers lend the memory of their arguments (the
    manifest says `preserves_inputs`), and want it back unchanged.
    """
    for argument in arguments:
        if isinstance(argument.type, RankedTensorType):
            Operation.create(
                "util.optimization_barrier", results=[argument.type], operands=[argument]
            )


def branch(target: Any, arguments: Sequence[Any]) -> None:
    """End a block: go on at another one."""
    Operation.create("cf.br", operands=list(arguments), successors=[target])


def branch_if(
    condition: Any,
    on_true: Any,
    on_false: Any,
    true_arguments: Sequence[Any] = (),
    false_arguments: Sequence[Any] = (),
) -> None:
    """End a block: go on at one of two."""
    counts = [1, len(true_arguments), len(false_arguments)]
    Operation.create(
        "cf.cond_br",
        operands=[condition, *true_arguments, *false_arguments],
        successors=[on_true, on_false],
        attributes={"operandSegmentSizes": DenseI32ArrayAttr.get(counts)},
    )


def copied_tensor(value: Any) -> Any:
    """Write a copy of a tensor that the compiler does not take for the original, and return it.

    The tensor leaves the module and comes in again.
    """
    view = Type.parse("!hal.buffer_view")
    exported = Operation.create(
        "hal.tensor.export",
        results=[view],
        operands=[value],
        attributes={
            "source_encoding": TypeAttr.get(value.type),
            "operandSegmentSizes": DenseI32ArrayAttr.get([1, 0]),
        },
    ).result
    hidden = Operation.create(
        "util.optimization_barrier", results=[view], operands=[exported]
    ).result
    return Operation.create(
        "hal.tensor.import",
        results=[value.type],
        operands=[hidden],
        attributes={
            "target_encoding": TypeAttr.get(value.type),
            "operandSegmentSizes": DenseI32ArrayAttr.get([1, 0, 0, 0]),
        },
    ).result
