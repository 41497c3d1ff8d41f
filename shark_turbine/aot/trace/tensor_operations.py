# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`aot.IREE` in a procedure: operations on whole tensors, their dims and their bounds."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import torch

from shark_turbine import dtypes
from shark_turbine.errors import DimensionError, TracingError, UnsupportedTypeError

from ..dims import Dim, DimVar
from ..steps import (
    Arithmetic,
    Check,
    DimOf,
    ScalarValue,
    SizeExpression,
    TensorOperation,
    TensorOperator,
    Trace,
)
from ..types import AbstractScalar, TensorType
from . import scalars
from .capture import SCALAR_DTYPES
from .module_proxy import plain
from .values import ScalarProxy, TensorProxy

if TYPE_CHECKING:
    from .procedure import ProcedureRecorder

_KINDS = {dtype: AbstractScalar(name) for name, dtype in SCALAR_DTYPES.items()}


def record_dim(
    recorder: ProcedureRecorder, tensor: Any, axis: int, dtype: AbstractScalar | torch.dtype | None
) -> int | ScalarProxy:
    """Return a size: an int where it is fixed and no type is asked for."""
    size = _tensor(recorder, "IREE.tensor_dim", tensor).size(axis)
    if dtype is None:
        return size
    kind = _KINDS.get(dtype) if isinstance(dtype, torch.dtype) else dtype
    if not isinstance(kind, AbstractScalar) or not kind.is_integer:
        raise TracingError(
            "IREE.tensor_dim: a size is an integer",
            where=recorder.where,
            location=recorder.user_location(),
            got=f"dtype={dtype!r}",
            expected="torch.int64 or torch.int32, or aot.AbstractI64, AbstractI32 or AbstractIndex",
            fix="dtype=torch.int64",
        )
    return scalars.adapted(recorder, size, kind, "the size")


def record_empty(
    recorder: ProcedureRecorder, dims: Sequence[Any], dtype: torch.dtype
) -> TensorProxy:
    """Record a tensor of undefined elements."""
    shape, sizes = _shape(recorder, "IREE.tensor_empty", dims)
    return _append(recorder, "empty", (), sizes, TensorType(_held(dtype), shape))


def record_splat(
    recorder: ProcedureRecorder, dims: Sequence[Any], value: Any, dtype: torch.dtype
) -> TensorProxy:
    """Record a tensor of one number."""
    shape, sizes = _shape(recorder, "IREE.tensor_splat", dims)
    number = _element(recorder, value, _held(dtype))
    return _append(recorder, "splat", (number.value,), sizes, TensorType(dtype, shape))


def record_reshape(recorder: ProcedureRecorder, tensor: Any, dims: Sequence[Any]) -> TensorProxy:
    """Record a reshape; the number of elements is compared now, or when it runs."""
    source = _tensor(recorder, "IREE.tensor_reshape", tensor)
    shape, sizes = _shape(recorder, "IREE.tensor_reshape", dims)
    result = TensorType(source.dtype, shape)
    plan = recorder.contracts.plan
    before = [plan.resolve(dim) for dim in source.type.shape]
    after = [plan.resolve(dim) for dim in shape]
    old, new = _sizes(recorder, source), list(sizes)
    for dim in [dim for dim in before if isinstance(dim, DimVar)]:
        if dim in after:  # It is a factor on both sides.
            del old[before.index(dim)], new[after.index(dim)]
            before.remove(dim)
            after.remove(dim)
    is_static = all(isinstance(dim, int) for dim in (*before, *after))
    if is_static and prod(before) != prod(after):  # type: ignore[arg-type]
        raise DimensionError(
            "IREE.tensor_reshape keeps the number of elements",
            where=recorder.where,
            location=recorder.user_location(),
            got=f"{source.type} as {result}",
            expected="dims whose product is the number of elements of the tensor",
            fix="give every dim as a number; -1 is not computed",
        )
    if not is_static:
        message = (
            f"{recorder.spec.name}: IREE.tensor_reshape of {source._name} must keep the number of "
            "elements"
        )
        recorder.steps.append(Check(_product(old), "==", _product(new), message))
    return _append(recorder, "reshape", (source.value,), sizes, result)


def record_slice(recorder: ProcedureRecorder, tensor: Any, indices: Sequence[Any]) -> TensorProxy:
    """Record a slice; its bounds are checked now where they are known, and else when it runs."""
    source = _tensor(recorder, "IREE.tensor_slice", tensor)
    _check_rank(recorder, "IREE.tensor_slice", source, indices)
    starts: list[SizeExpression] = []
    lengths: list[SizeExpression] = []
    shape: list[Dim] = []
    for axis in range(source.ndim):
        given = indices[axis] if axis < len(indices) else (0, source.size(axis))
        start, length = given if isinstance(given, (tuple, list)) else (given, 1)
        dim, size = recorder.dims.dim_of(length, "IREE.tensor_slice")
        starts.append(_start(recorder, "IREE.tensor_slice", source, axis, start, size, dim))
        lengths.append(size)
        shape.append(dim)
    result = TensorType(source.dtype, tuple(shape))
    return _append(recorder, "slice", (source.value,), (*starts, *lengths), result)


def record_update(
    recorder: ProcedureRecorder, target: Any, update: Any, start: Sequence[Any]
) -> TensorProxy:
    """Record an update; its bounds are checked now where they are known, and else when it runs."""
    operation = "IREE.tensor_update"
    whole, part = _tensor(recorder, operation, target), _tensor(recorder, operation, update)
    _check_rank(recorder, operation, whole, start)
    if whole.dtype != part.dtype or whole.ndim != part.ndim:
        raise TracingError(
            f"{operation} writes a tensor into one of the same dtype and rank",
            where=recorder.where,
            location=recorder.user_location(),
            got=f"{part._name}: {part.type} into {whole._name}: {whole.type}",
            expected=f"an update of dtype {whole.dtype} with {whole.ndim} dims",
            fix=f"x.to({whole.dtype}) in a jittable"
            if whole.ndim == part.ndim
            else "IREE.tensor_reshape(update, ...) adds dims of size 1",
        )
    starts = [
        _start(
            recorder,
            operation,
            whole,
            axis,
            start[axis] if axis < len(start) else 0,
            _sizes(recorder, part)[axis],
            part.type.shape[axis],
        )
        for axis in range(whole.ndim)
    ]
    return _append(recorder, "update", (whole.value, part.value), starts, whole.type)


def record_load(recorder: ProcedureRecorder, tensor: Any, indices: Sequence[Any]) -> ScalarProxy:
    """Record the reading of one element as a scalar."""
    operation = "IREE.tensor_load"
    source = _tensor(recorder, operation, tensor)
    kind = _KINDS.get(source.dtype)
    if kind is None:
        raise UnsupportedTypeError(
            f"{operation}: no scalar holds an element of this tensor",
            where=recorder.where,
            location=recorder.user_location(),
            got=f"{source._name}: {source.type}",
            expected="a tensor of " + ", ".join(map(str, _KINDS)),
            fix="convert it first, in a jittable: x.to(torch.float32)",
        )
    if len(indices) != source.ndim:
        _check_rank(recorder, operation, source, [*indices, *[0] * (source.ndim + 1)])
    at = [
        _start(recorder, operation, source, axis, index, 1, 1) for axis, index in enumerate(indices)
    ]
    result = recorder.new_value(kind)
    recorder.steps.append(TensorOperation(result, "load", (source.value,), tuple(at)))
    return ScalarProxy(recorder, result, kind, f"an element of {source._name}")


def record_trace(recorder: ProcedureRecorder, key: str, tensors: Sequence[Any]) -> None:
    """Record that tensors are printed."""
    values = tuple(_tensor(recorder, "IREE.tensor_trace", tensor).value for tensor in tensors)
    recorder.steps.append(Trace(str(key), values))


def _append(
    recorder: ProcedureRecorder,
    operator: TensorOperator,
    operands: tuple[int, ...],
    sizes: Sequence[SizeExpression],
    result: TensorType,
) -> TensorProxy:
    value = recorder.new_value(result)
    recorder.steps.append(TensorOperation(value, operator, operands, tuple(sizes)))
    name = f"IREE.tensor_{operator}(...)"
    recorder.contracts.locate(value, name, result.shape)
    return TensorProxy(recorder, value, result, name)


def _tensor(recorder: ProcedureRecorder, operation: str, given: Any) -> TensorProxy:
    given = plain(given)
    if isinstance(given, TensorProxy):
        recorder.owned([given])
        return given
    raise TracingError(
        f"{operation} takes a tensor of the procedure",
        where=recorder.where,
        location=recorder.user_location(),
        got=repr(given) if isinstance(given, ScalarProxy) else type(given).__name__,
        expected="an argument, a global, or the result of a jittable or of an IREE operation",
        fix="aot.IREE.tensor_splat(value=..., dtype=...) makes a tensor of a number"
        if isinstance(given, (ScalarProxy, bool, int, float))
        else "make the constant in a jittable: aot.jittable(lambda: tensor)()",
    )


def _held(dtype: torch.dtype) -> torch.dtype:
    dtypes.from_torch(dtype, what="a tensor of the procedure")
    return dtype


def _element(recorder: ProcedureRecorder, value: Any, dtype: torch.dtype) -> ScalarProxy:
    """Return the scalar that becomes every element: of the dtype's own type, or converted after."""
    if isinstance(value, TensorProxy):
        value = value.item()
    if isinstance(value, ScalarProxy):
        kind = _KINDS.get(dtype, value.type)
    elif dtype is torch.bool:
        kind = _KINDS[torch.bool]
    elif dtype.is_floating_point:
        kind = _KINDS[torch.float64 if dtype is torch.float64 else torch.float32]
    else:
        kind = _KINDS[torch.int64]
    if dtype.is_complex or (dtype not in _KINDS and isinstance(value, ScalarProxy)):
        raise TracingError(
            f"IREE.tensor_splat cannot make a tensor of {dtype} of this value",
            where=recorder.where,
            location=recorder.user_location(),
            got=repr(value),
            expected="a scalar of the tensor's dtype, or a Python number for real dtypes",
            fix="torch.full in a jittable",
        )
    return scalars.adapted(recorder, value, kind, "the value of IREE.tensor_splat")


def _shape(
    recorder: ProcedureRecorder, operation: str, dims: Sequence[Any]
) -> tuple[tuple[Dim, ...], tuple[SizeExpression, ...]]:
    if len(dims) == 1 and isinstance(dims[0], (tuple, list)):
        dims = dims[0]
    pairs = [recorder.dims.dim_of(dim, operation) for dim in dims]
    return tuple(dim for dim, _ in pairs), tuple(size for _, size in pairs)


def _sizes(recorder: ProcedureRecorder, tensor: TensorProxy) -> list[SizeExpression]:
    return [
        dim if isinstance(dim, int) else DimOf(tensor.value, axis)
        for axis, dim in enumerate(tensor.type.shape)
    ]


def _product(sizes: Sequence[SizeExpression]) -> SizeExpression:
    product: SizeExpression = 1
    for size in sizes:
        product = size if product == 1 else Arithmetic("*", product, size)
    return product


def _check_rank(
    recorder: ProcedureRecorder, operation: str, tensor: TensorProxy, indices: Sequence[Any]
) -> None:
    if len(indices) <= tensor.ndim:
        return
    raise DimensionError(
        f"{operation} takes one index for each dim of {tensor._name}",
        where=recorder.where,
        location=recorder.user_location(),
        got=f"another number of indices for {tensor.type}",
        expected=f"{tensor.ndim} indices",
        fix="x.item() reads the one element of a tensor"
        if "load" in operation
        else "leave some out",
    )


def _start(
    recorder: ProcedureRecorder,
    operation: str,
    tensor: TensorProxy,
    axis: int,
    start: Any,
    length: SizeExpression,
    length_dim: Dim,
) -> SizeExpression:
    """Return where a part starts, having checked that the part lies inside the tensor."""
    plan = recorder.contracts.plan
    size, dim = _sizes(recorder, tensor)[axis], plan.resolve(tensor.type.shape[axis])
    length_dim = plan.resolve(length_dim)
    if isinstance(start, int) and not isinstance(start, bool):
        known = start + length_dim if isinstance(length_dim, int) else None
        if start < 0 or (known is not None and isinstance(dim, int) and known > dim):
            raise _out_of_range(recorder, operation, tensor, axis, start, length_dim)
        if (known is not None and isinstance(dim, int)) or (start == 0 and dim == length_dim):
            return start
        where: SizeExpression = start
    elif isinstance(start, ScalarProxy):
        where = ScalarValue(recorder.dims.index_of(start, operation).value)
        message = (
            f"{recorder.spec.name}: {operation}: the index of dim {axis} of {tensor._name} must be"
        )
        recorder.steps.append(Check(where, ">=", 0, f"{message} >= 0"))
    else:
        raise recorder.dims.refusal(start, operation, "an index", "an index")
    message = f"{recorder.spec.name}: {operation} must stay inside dim {axis} of {tensor._name}"
    end = length if where == 0 else Arithmetic("+", where, length)
    recorder.steps.append(Check(end, "<=", size, message))
    return where


def _out_of_range(
    recorder: ProcedureRecorder,
    operation: str,
    tensor: TensorProxy,
    axis: int,
    start: int,
    length: Dim,
) -> DimensionError:
    shown = length.name if isinstance(length, DimVar) else length
    return DimensionError(
        f"{operation} reaches outside dim {axis} of {tensor._name}",
        where=recorder.where,
        location=recorder.user_location(),
        got=f"{shown} elements from index {start} of {tensor.type}",
        expected="a part that lies inside; indices count from 0",
        fix=f"{tensor._name}.size({axis}) is the size of the dim",
    )
