# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""From tensors to bytes, and back from a file."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
import torch

from shark_turbine import dtypes
from shark_turbine.errors import ParameterError

from .stored import StoredTensor


def bytes_of(tensor: torch.Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return the bytes of a tensor, row-major, as a flat uint8 array.

    It is the tensor's own memory where the tensor is contiguous on the CPU, else a copy.
    """
    plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    return plain.reshape(-1).view(torch.uint8).numpy()


def load_stored(stored: StoredTensor) -> torch.Tensor:
    """Return a tensor that lies in a file, over private, mapped memory.

    Raises:
        ParameterError: the file changed since its header was read.
    """
    if stored.dtype is None or stored.shape is None:
        raise ParameterError(
            f"{stored.key!r} is in a format that is no dtype",
            where=str(stored.file.path),
            got=str(stored),
            expected="a tensor whose dtype torch and IREE both have",
        )
    dtype = dtypes.from_name(stored.dtype).torch
    if stored.nbytes == 0:
        return torch.empty(stored.shape, dtype=dtype)
    if stored.pattern:
        memory = bytearray(stored.pattern * (stored.nbytes // len(stored.pattern)))
        return torch.frombuffer(memory, dtype=dtype).view(stored.shape)
    with stored.file.open() as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    flat = torch.frombuffer(mapped, dtype=torch.uint8, offset=stored.offset, count=stored.nbytes)
    if flat.data_ptr() % dtype.itemsize:
        flat = flat.clone()  # torch reads only what lies at a multiple of its size.
    return flat.view(dtype).view(stored.shape)
