# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""THE dtype table: torch, MLIR, the torch dialect, numpy, IREE's HAL and safetensors, one row each.

Nothing else in the package spells a dtype of one world in the words of another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import torch

from .errors import UnsupportedTypeError


@dataclass(frozen=True, slots=True)
class DType:
    """One element type in every vocabulary.

    `name` is ours (and MLIR's, with `u` for unsigned and `bool`); `mlir` is signless, as on
    builtin tensors; `torch_mlir` carries the sign, as on `!torch.vtensor`; `hal` names a member of
    `iree.runtime.HalElementType`; `safetensors` is None where that format has no such type.
    """

    name: str
    torch: torch.dtype
    mlir: str
    torch_mlir: str
    numpy: np.dtype[Any]
    hal: str
    safetensors: str | None

    @property
    def size(self) -> int:
        """Bytes per element."""
        return self.numpy.itemsize

    def __str__(self) -> str:
        return self.name


def _row(
    torch_dtype: torch.dtype,
    name: str,
    mlir: str,
    torch_mlir: str,
    numpy_dtype: object,
    hal: str,
    safetensors: str | None,
) -> DType:
    return DType(name, torch_dtype, mlir, torch_mlir, np.dtype(numpy_dtype), hal, safetensors)  # type: ignore[call-overload]


# fmt: off
TABLE: tuple[DType, ...] = (
    _row(torch.float16, "f16", "f16", "f16", np.float16, "FLOAT_16", "F16"),
    _row(torch.bfloat16, "bf16", "bf16", "bf16", ml_dtypes.bfloat16, "BFLOAT_16", "BF16"),
    _row(torch.float32, "f32", "f32", "f32", np.float32, "FLOAT_32", "F32"),
    _row(torch.float64, "f64", "f64", "f64", np.float64, "FLOAT_64", "F64"),
    _row(torch.int8, "i8", "i8", "si8", np.int8, "SINT_8", "I8"),
    _row(torch.int16, "i16", "i16", "si16", np.int16, "SINT_16", "I16"),
    _row(torch.int32, "i32", "i32", "si32", np.int32, "SINT_32", "I32"),
    _row(torch.int64, "i64", "i64", "si64", np.int64, "SINT_64", "I64"),
    _row(torch.uint8, "u8", "i8", "ui8", np.uint8, "UINT_8", "U8"),
    _row(torch.uint16, "u16", "i16", "ui16", np.uint16, "UINT_16", "U16"),
    _row(torch.uint32, "u32", "i32", "ui32", np.uint32, "UINT_32", "U32"),
    _row(torch.uint64, "u64", "i64", "ui64", np.uint64, "UINT_64", "U64"),
    _row(torch.bool, "bool", "i1", "i1", np.bool_, "BOOL_8", "BOOL"),
    _row(torch.complex64, "complex64", "complex<f32>", "complex<f32>", np.complex64, "COMPLEX_64", "C64"),
    _row(torch.complex128, "complex128", "complex<f64>", "complex<f64>", np.complex128, "COMPLEX_128", None),
    _row(torch.float8_e4m3fn, "f8e4m3fn", "f8E4M3FN", "f8E4M3FN", ml_dtypes.float8_e4m3fn, "FLOAT_8_E4M3_FN", "F8_E4M3"),
    _row(torch.float8_e4m3fnuz, "f8e4m3fnuz", "f8E4M3FNUZ", "f8E4M3FNUZ", ml_dtypes.float8_e4m3fnuz, "FLOAT_8_E4M3_FNUZ", "F8_E4M3FNUZ"),
    _row(torch.float8_e5m2, "f8e5m2", "f8E5M2", "f8E5M2", ml_dtypes.float8_e5m2, "FLOAT_8_E5M2", "F8_E5M2"),
    _row(torch.float8_e5m2fnuz, "f8e5m2fnuz", "f8E5M2FNUZ", "f8E5M2FNUZ", ml_dtypes.float8_e5m2fnuz, "FLOAT_8_E5M2_FNUZ", "F8_E5M2FNUZ"),
    _row(torch.float8_e8m0fnu, "f8e8m0fnu", "f8E8M0FNU", "f8E8M0FNU", ml_dtypes.float8_e8m0fnu, "FLOAT_8_E8M0_FNU", "F8_E8M0"),
)
# fmt: on

_BY_NAME = {row.name: row for row in TABLE}
_BY_TORCH = {row.torch: row for row in TABLE}
_BY_NUMPY = {row.numpy: row for row in TABLE}
_BY_SAFETENSORS = {row.safetensors: row for row in TABLE if row.safetensors is not None}


def from_name(name: str) -> DType:
    """Return the row called `name` (`f32`, `u8`, `bool`, ...); KeyError where there is none."""
    return _BY_NAME[name]


def from_safetensors(name: str) -> DType | None:
    """Return the row of what a safetensors file calls a dtype; None where the table has none."""
    return _BY_SAFETENSORS.get(name)


def from_torch(dtype: torch.dtype, *, what: str = "a tensor") -> DType:
    """Return the row of a torch dtype.

    Raises:
        UnsupportedTypeError: no compiled module can hold it; the message names `what`.
    """
    row = _BY_TORCH.get(dtype)
    if row is None:
        raise UnsupportedTypeError(
            f"{what} has a dtype that cannot be carried into a compiled module",
            got=dtype,
            expected=", ".join(str(known.torch).removeprefix("torch.") for known in TABLE),
            fix="convert it first, for example with .to(torch.float32)",
        )
    return row


def from_numpy(dtype: np.dtype[Any], *, what: str = "an array") -> DType:
    """Return the row of a numpy dtype.

    Raises:
        UnsupportedTypeError: no compiled module can hold it; the message names `what`.
    """
    row = _BY_NUMPY.get(dtype)
    if row is None:
        raise UnsupportedTypeError(
            f"{what} has a dtype that cannot be carried into a compiled module",
            got=dtype,
            expected=", ".join(str(known.numpy) for known in TABLE),
            fix="convert it first, for example with .astype(numpy.float32)",
        )
    return row
