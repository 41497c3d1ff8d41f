# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Is this the value that the function was compiled for? Asked of each flat argument, before anything runs."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from .. import dtypes
from ..errors import ArgumentError, UnsupportedTypeError
from ..signature import Argument
from .tensors import from_numpy

# The size of each named dim of a call, and who said so first: `n` -> (5, "a.shape[0]").
Sizes = dict[str, tuple[int, str]]
Check = Callable[[Any, Sizes], Any]


def checker(argument: Argument, where: str) -> Check:
    """Return `check(value, sizes)`: the value as a torch tensor or a Python number, or ArgumentError."""
    if argument.type.shape is None:
        return _scalar_checker(argument, where)
    return _tensor_checker(argument, where)


def _tensor_checker(argument: Argument, where: str) -> Check:
    spec = argument.type.shape or ()
    dtype = dtypes.from_name(argument.type.dtype).torch
    rank = len(spec)
    fixed = tuple(spec) if all(isinstance(dim, int) for dim in spec) else None

    tensor_type, strided = torch.Tensor, torch.strided

    def check(value: Any, sizes: Sizes) -> Any:
        if type(value) is not tensor_type:
            value = _to_tensor(value, argument, where)
        if value.dtype is not dtype:
            raise _wrong_dtype(value, argument, where)
        if value.shape != fixed:
            if fixed is not None or value.dim() != rank:
                raise _wrong_shape(value, argument, where)
            _note_sizes(value, argument, where, sizes)
        if not value.is_cpu or value.layout is not strided:
            raise _elsewhere(value, argument, where)
        return value

    return check


def _note_sizes(value: Any, argument: Argument, where: str, sizes: Sizes) -> None:
    """Compare the dims of a tensor of the right rank with its type and with the other arguments."""
    for axis, (size, dim) in enumerate(zip(value.shape, argument.type.shape or (), strict=True)):
        if isinstance(dim, int):
            if size != dim:
                raise _wrong_shape(value, argument, where)
            continue
        known = sizes.get(dim)
        if known is None:
            sizes[dim] = (size, f"{argument.name}.shape[{axis}]")
        elif known[0] != size:
            raise _unequal(known, (size, f"{argument.name}.shape[{axis}]"), dim, where)


def _scalar_checker(argument: Argument, where: str) -> Check:
    dtype = argument.type.dtype

    def check(value: Any, _: Sizes) -> Any:
        number = _plain_number(value)
        if number is None or not _is_of_kind(number, dtype):
            raise ArgumentError(
                f"{argument.name} has the wrong type",
                where=where,
                got=describe(value),
                expected=f"a Python {_python_kind(dtype)}, passed as {dtype}",
                fix=_scalar_fix(argument.name, value, dtype),
            )
        _refuse_out_of_range(number, argument.name, dtype, where)
        return number

    return check


# ------------------------------------------------------------------------------------------------ conversion --


def _to_tensor(value: Any, argument: Argument, where: str) -> Any:
    if isinstance(value, torch.Tensor):  # a Parameter or another subclass
        return value
    row = dtypes.from_name(argument.type.dtype)
    if isinstance(value, (np.ndarray, np.generic)):
        array = np.asarray(value)
        if array.dtype != row.numpy:
            raise _wrong_dtype(array, argument, where)
        return from_numpy(array, row)
    if isinstance(value, (bool, int, float, complex)):
        if argument.type.shape != ():
            raise _wrong_shape(value, argument, where)
        if not isinstance(value, complex) and not row.torch.is_complex:
            if not _is_of_kind(value, row.name):
                raise _wrong_dtype(value, argument, where)
            _refuse_out_of_range(value, argument.name, row.name, where)
        return torch.tensor(value, dtype=row.torch)
    raise ArgumentError(
        f"{argument.name} has the wrong type",
        where=where,
        got=describe(value),
        expected=f"a torch tensor or numpy array of {argument.type}",
        fix=f"{argument.name} = torch.as_tensor({argument.name})"
        if isinstance(value, (list, tuple)) and value
        else None,
    )


def _plain_number(value: Any) -> bool | int | float | None:
    """Return a Python number for anything that is one: numpy scalars, and tensors without dims."""
    if isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, (np.generic, np.ndarray, torch.Tensor)) and value.ndim == 0:
        item = value.item()
        return item if isinstance(item, (bool, int, float)) else None
    return None


def _is_of_kind(number: bool | int | float, dtype: str) -> bool:
    if dtype == "bool":
        return isinstance(number, bool)
    return isinstance(number, int) or dtype[0] not in "iu"


def _refuse_out_of_range(number: bool | int | float, name: str, dtype: str, where: str) -> None:
    if dtype[0] in "iu":
        limits = torch.iinfo(dtypes.from_name(dtype).torch)
    elif dtype == "bool" or not math.isfinite(number):
        return
    else:
        limits = torch.finfo(dtypes.from_name(dtype).torch)
    if limits.min <= number <= limits.max:
        return
    raise ArgumentError(
        f"{name} does not fit into {dtype}",
        where=where,
        got=number,
        expected=f"a number from {limits.min} to {limits.max}",
    )


# ---------------------------------------------------------------------------------------------------- errors --


def describe(value: Any) -> str:
    """Return what a value is, as messages show it: `f32[3, 4]`, `int 5`, `list of 2`."""
    if isinstance(value, (torch.Tensor, np.ndarray)):
        where = (
            f" on {value.device}" if isinstance(value, torch.Tensor) and not value.is_cpu else ""
        )
        return f"{_dtype_name(value)}[{', '.join(map(str, value.shape))}]{where}"
    if isinstance(value, (list, tuple, dict)):
        return f"a {type(value).__name__} of {len(value)}"
    shown = repr(value)
    return f"{type(value).__name__} {shown if len(shown) <= 60 else shown[:57] + '...'}"


def _dtype_name(value: Any) -> str:
    try:
        if isinstance(value, torch.Tensor):
            return dtypes.from_torch(value.dtype).name
        return dtypes.from_numpy(value.dtype).name
    except UnsupportedTypeError:
        return str(value.dtype)


def _wrong_dtype(value: Any, argument: Argument, where: str) -> ArgumentError:
    row = dtypes.from_name(argument.type.dtype)
    fix = None
    if isinstance(value, torch.Tensor):
        fix = f"{argument.name}.to({row.torch})"
    elif isinstance(value, np.ndarray) and row.numpy.isbuiltin == 1:
        fix = f"{argument.name}.astype(numpy.{row.numpy.name})"
    return ArgumentError(
        f"{argument.name} has the wrong dtype",
        where=where,
        got=describe(value),
        expected=str(argument.type),
        fix=fix,
    )


def _wrong_shape(value: Any, argument: Argument, where: str) -> ArgumentError:
    shape = tuple(value.shape) if hasattr(value, "shape") else ()
    spec = argument.type.shape or ()
    what = f"{argument.name} has the wrong shape"
    if len(shape) != len(spec):
        what = f"{argument.name} has the wrong number of dims ({len(shape)}, not {len(spec)})"
    else:
        wrong = [
            f"{argument.name}.shape[{axis}] is {size}, not {dim}"
            for axis, (size, dim) in enumerate(zip(shape, spec, strict=True))
            if isinstance(dim, int) and dim != size
        ]
        what = ", ".join(wrong) or what
    return ArgumentError(
        what, where=where, got=describe(value), expected=str(argument.type), fix=None
    )


def _unequal(
    first: tuple[int, str], second: tuple[int, str], dim: str, where: str
) -> ArgumentError:
    what = f"{first[1]} ({first[0]}) must equal {second[1]} ({second[0]})"
    # A dim that its user did not name has a name that only says that it is the same dim.
    named = not re.fullmatch(r"d\d+", dim)
    return ArgumentError(f"{what}: both are {dim!r}" if named else what, where=where)


def _elsewhere(value: Any, argument: Argument, where: str) -> ArgumentError:
    if value.layout is not torch.strided:
        return ArgumentError(
            f"{argument.name} is not a dense tensor",
            where=where,
            got=str(value.layout),
            expected=str(argument.type),
            fix=f"{argument.name}.to_dense()",
        )
    return ArgumentError(
        f"{argument.name} is not in the memory of the CPU",
        where=where,
        got=describe(value),
        expected=str(argument.type),
        fix=f"{argument.name}.cpu()",
    )


def _python_kind(dtype: str) -> str:
    return "bool" if dtype == "bool" else "int" if dtype[0] in "iu" else "float"


def _scalar_fix(name: str, value: Any, dtype: str) -> str | None:
    if _plain_number(value) is not None:
        return f"{_python_kind(dtype)}({name})"
    return None
