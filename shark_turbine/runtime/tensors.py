# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""torch and numpy values ↔ HAL buffer views and VM values, one flat argument or result at a time.

Each factory looks at a type once, when a module is loaded, and returns a small function for calls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import iree.runtime as iree
import numpy as np
import torch
from iree.runtime import HalBufferView

# The functions behind `torch.utils.dlpack`, which asks first what kind of object a capsule is.
from torch._C import _from_dlpack as from_dlpack
from torch._C import _to_dlpack as to_dlpack  # pyright: ignore[reportPrivateImportUsage]

from .. import dtypes
from ..signature import ValueType

ALIGNMENT = 64
_CPU_CODE = 1  # kDLCPU

_MEMORY = int(iree.MemoryType.DEVICE_LOCAL)
_USAGE = int(iree.BufferUsage.DEFAULT) | int(iree.BufferUsage.MAPPING)

# The address ranges of the caller's memory that a call reads without a copy.
Borrowed = list[tuple[int, int]]
Pack = Callable[[Any, Any, Borrowed], None]
Unpack = Callable[[Any, int], Any]

# What DLPack as IREE speaks it cannot name: bytes travel, and the HAL type is set by hand.
_UNNAMED = frozenset(row.name for row in dtypes.TABLE if row.name.startswith("f8"))
_INTEGERS = {row.name for row in dtypes.TABLE if row.name[0] in "iu"}
_PLAIN_OF_SIZE = {1: torch.uint8, 2: torch.int16}


def shares_memory(kind: ValueType) -> bool:
    """Tell whether DLPack can name a type, so that aligned row-major memory passes as it is."""
    return kind.shape is not None and kind.dtype not in _UNNAMED


def packer(kind: ValueType, hal: Any, *, share: bool) -> Pack:
    """Return `pack(value, inputs, borrowed)`, which appends a checked value to the VM inputs.

    With `share`, memory that is aligned and contiguous is passed as it is and noted in `borrowed`;
    without, the artifact gets a copy of its own: IREE updates arguments in place when it can, and
    imported memory does not even let it.
    """
    if kind.shape is None:
        return _pack_integer if kind.dtype in _INTEGERS or kind.dtype == "bool" else _pack_float
    row = dtypes.from_name(kind.dtype)
    is_complex = row.torch.is_complex
    may_be_negated = is_complex or row.torch.is_floating_point
    element = getattr(iree.HalElementType, row.hal)
    bits = None if row.numpy.isbuiltin == 1 else _PLAIN_OF_SIZE[row.size]
    unnamed = row.name in _UNNAMED
    import_view = hal.from_dlpack_capsule
    allocate_copy = hal.allocator.allocate_buffer_copy

    def pack(tensor: Any, inputs: Any, borrowed: Borrowed) -> None:
        if tensor.requires_grad:
            tensor = tensor.detach()
        if may_be_negated and tensor.is_neg():
            tensor = tensor.resolve_neg()
        if is_complex and tensor.is_conj():
            tensor = tensor.resolve_conj()
        start = tensor.data_ptr()
        if share and start and start % ALIGNMENT == 0 and tensor.is_contiguous():
            borrowed.append((start, start + tensor.nbytes))
            if unnamed:
                view = import_view(to_dlpack(tensor.view(bits)))
                view = HalBufferView(view.get_buffer(), list(tensor.shape), element)
            else:
                view = import_view(to_dlpack(tensor))
        else:
            plain = tensor if bits is None else tensor.contiguous().view(bits)
            view = allocate_copy(_MEMORY, _USAGE, hal, plain.contiguous().numpy(), element)
        inputs.push_ref(view)

    return pack


def _pack_integer(value: Any, inputs: Any, _: Borrowed) -> None:
    # The VM knows no unsigned numbers: the upper half of u64 travels as negative numbers.
    inputs.push_int(value - (1 << 64) if value >= 1 << 63 else value)


def _pack_float(value: Any, inputs: Any, _: Borrowed) -> None:
    inputs.push_float(value)


def unpacker(kind: ValueType, hal: Any) -> Unpack:
    """Return `unpack(outputs, index)`, which gives a torch tensor or a Python number."""
    if kind.shape is None:
        return _scalar_unpacker(kind.dtype)
    row = dtypes.from_name(kind.dtype)
    dtype, unnamed = row.torch, row.name in _UNNAMED
    export = hal.create_dlpack_capsule

    def unpack(outputs: Any, index: int) -> Any:
        view = outputs.get_as_object(index, HalBufferView)
        if unnamed:
            view = HalBufferView(view.get_buffer(), view.shape, iree.HalElementType.UINT_8)
        tensor = from_dlpack(export(view, _CPU_CODE, 0))
        return tensor if tensor.dtype is dtype else tensor.view(dtype)

    return unpack


def _scalar_unpacker(dtype: str) -> Unpack:
    if dtype == "bool":
        return lambda outputs, index: bool(outputs.get_variant(index))
    if dtype not in _INTEGERS:
        return lambda outputs, index: float(outputs.get_variant(index))
    bits = int(dtype[1:])
    low = 0 if dtype[0] == "u" else -(1 << (bits - 1))
    mask = (1 << bits) - 1
    return lambda outputs, index: ((outputs.get_variant(index) - low) & mask) + low


def to_numpy(value: Any) -> Any:
    """Return a torch tensor as a numpy array over the same memory; other values unchanged."""
    if not isinstance(value, torch.Tensor):
        return value
    row = dtypes.from_torch(value.dtype)
    if row.numpy.kind != "V" and row.numpy.isbuiltin == 1:
        return value.numpy()
    return value.view(_PLAIN_OF_SIZE[row.size]).numpy().view(row.numpy)


def from_numpy(array: np.ndarray[Any, Any], row: dtypes.DType) -> Any:
    """Return a numpy array of `row`'s dtype as a torch tensor, over the same memory if it can."""
    if not array.flags.writeable or any(stride < 0 for stride in array.strides):
        array = array.copy()
    if row.numpy.isbuiltin == 1:
        return torch.from_numpy(array)
    plain = np.dtype(f"u{row.size}") if row.size == 1 else np.dtype(f"i{row.size}")
    return torch.from_numpy(array.view(plain)).view(row.torch)
