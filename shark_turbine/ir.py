# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The only door to IREE's MLIR bindings, with the type constructors that the emitters share."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import IO, Any

from iree.compiler import ir as _ir

# Native code, of which the stubs of IREE say nothing.
from iree.compiler._mlir_libs import _mlir  # pyright: ignore[reportAttributeAccessIssue]
from iree.compiler.dialects import arith, func, tensor, util
from iree.compiler.passmanager import PassManager

from . import dtypes
from .files import new_file

AffineDimExpr = _ir.AffineDimExpr
ArrayAttr = _ir.ArrayAttr
Attribute = _ir.Attribute
Block = _ir.Block
Context = _ir.Context
DenseElementsAttr = _ir.DenseElementsAttr
DenseI32ArrayAttr = _ir.DenseI32ArrayAttr
DenseI64ArrayAttr = _ir.DenseI64ArrayAttr
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
ShapedType = _ir.ShapedType
StringAttr = _ir.StringAttr
SymbolTable = _ir.SymbolTable
Type = _ir.Type
TypeAttr = _ir.TypeAttr
UnitAttr = _ir.UnitAttr
Value = _ir.Value

__all__ = [
    "AffineDimExpr",
    "ArrayAttr",
    "Attribute",
    "Block",
    "Context",
    "DenseElementsAttr",
    "DenseI32ArrayAttr",
    "DenseI64ArrayAttr",
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
    "ShapedType",
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
    "extract_slice",
    "func",
    "insert_slice",
    "keep_alive",
    "load_global",
    "store_global",
    "tensor",
    "tensor_type",
    "torch_tensor_type",
    "util",
    "write_bytecode",
    "write_module",
]


def _know_dialects_without_module(*names: str) -> None:
    """Give the bindings an empty Python module for each dialect that has none.

    They look for one whenever an operation of the dialect is made or met, through all of Python's paths,
    and remember only what they have found (llvm/llvm-project#201341): 4 seconds of importing in 5 for a walk.
    """
    prefix = f"{__name__}.dialects"
    for name in names:
        sys.modules[f"{prefix}.{name}"] = ModuleType(f"{prefix}.{name}")
    _mlir.globals.append_dialect_search_prefix(prefix)


_know_dialects_without_module("torch", "torch_c")


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


def load_global(symbol: str, kind: Any) -> Any:
    """Write the load of a `util.global` of a type at the insertion point; return the value."""
    return Operation.create(
        "util.global.load", results=[kind], attributes={"global": FlatSymbolRefAttr.get(symbol)}
    ).result


def store_global(value: Any, symbol: str, *, is_own: bool = False) -> None:
    """Write the store of a value into a `util.global` at the insertion point.

    The barrier keeps a stored value from being recognized as another global's: IREE merges a global
    whose every store is a load of another one with it, although the other may change later. What `is_own`
    was made by an update or a copy: it goes without, for the program waits for a tensor at a barrier.
    """
    kept = value if is_own else _operation("util.optimization_barrier", value.type, [value])
    Operation.create(
        "util.global.store", operands=[kept], attributes={"global": FlatSymbolRefAttr.get(symbol)}
    )


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
    """Write a copy of a tensor that the compiler does not take for the original.

    The copy is an update of undefined memory, whose size the compiler does not know to be that of the
    tensor: so it can neither drop the update nor work in the memory of the original.
    """
    index = IndexType.get()
    if value.type.rank == 0:
        row = RankedTensorType.get([1], value.type.element_type)
        copied = copied_tensor(_operation("flow.tensor.reshape", row, [value], [], []))
        return _operation("flow.tensor.reshape", value.type, [copied], [], [])
    axes = range(value.type.rank)
    numbers = [arith.ConstantOp(index, IntegerAttr.get(index, axis)).result for axis in axes]
    dims = [tensor.DimOp(value, number).result for number in numbers]
    is_dynamic = [value.type.is_dynamic_dim(axis) for axis in axes]
    hidden = _operation("util.optimization_barrier", index, [dims[0]])
    unknown = ShapedType.get_dynamic_size()
    open_type = RankedTensorType.get([unknown, *value.type.shape[1:]], value.type.element_type)
    own_dims = [dim for dim, dynamic in zip(dims, is_dynamic, strict=True) if dynamic]
    open_dims = [hidden, *(own_dims[1:] if is_dynamic[0] else own_dims)]
    memory = _operation("flow.tensor.empty", open_type, open_dims)
    starts = [numbers[0]] * len(numbers)
    copied = _operation(
        "flow.tensor.update", open_type, [memory], open_dims, starts, [value], own_dims
    )
    return _operation("flow.tensor.reshape", value.type, [copied], open_dims, own_dims)


def extract_slice(result: Any, source: Any, starts: Sequence[Any], sizes: Sequence[Any]) -> Any:
    """Write the reading of a part of a tensor; `sizes` are those of the result's dynamic dims."""
    attributes = _slice_attributes([1, len(starts), len(sizes), 0], result)
    return Operation.create(
        "tensor.extract_slice",
        results=[result],
        operands=[source, *starts, *sizes],
        attributes=attributes,
    ).result


def insert_slice(part: Any, target: Any, starts: Sequence[Any], sizes: Sequence[Any]) -> Any:
    """Write the writing of a part into a tensor; `sizes` are those of the part's dynamic dims."""
    attributes = _slice_attributes([1, 1, len(starts), len(sizes), 0], part.type)
    return Operation.create(
        "tensor.insert_slice",
        results=[target.type],
        operands=[part, target, *starts, *sizes],
        attributes=attributes,
    ).result


def _slice_attributes(counts: list[int], part: Any) -> dict[str, Any]:
    """Return the attributes of a slice that starts anywhere, has the shape of a part, and strides of 1."""
    unknown = ShapedType.get_dynamic_size()
    return {
        "operandSegmentSizes": DenseI32ArrayAttr.get(counts),
        "static_offsets": DenseI64ArrayAttr.get([unknown] * part.rank),
        "static_sizes": DenseI64ArrayAttr.get(list(part.shape)),
        "static_strides": DenseI64ArrayAttr.get([1] * part.rank),
    }


def _operation(name: str, result: Any, *groups: Sequence[Any]) -> Any:
    """Write an operation; several groups of operands are told apart by their lengths."""
    counts = DenseI32ArrayAttr.get([len(group) for group in groups])
    return Operation.create(
        name,
        results=[result],
        operands=[operand for group in groups for operand in group],
        attributes={"operandSegmentSizes": counts} if len(groups) > 1 else {},
    ).result
