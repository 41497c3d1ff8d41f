# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`aot.IREE`: operations on whole tensors that procedures may use, IREE's `flow.tensor.*`."""

from __future__ import annotations

from typing import Any

import torch

from . import recorder
from .types import AbstractScalar


class IREE:
    """A namespace of operations for the values of a procedure.

    Dims and indices are ints, or integer scalars of the procedure. What is out of range is an error
    when it is traced, where all numbers are known, and else when the compiled function runs.
    """

    @staticmethod
    def tensor_dim(t: Any, i: int, *, dtype: AbstractScalar | torch.dtype | None = None) -> Any:
        """Return the size of a dim: an int where fixed, else a scalar of type index.

        Args:
            t: the tensor.
            i: which dim; -1 is the last.
            dtype: such as `torch.int64` or `aot.AbstractI64`; with it the result is always a scalar
                of that type.
        """
        return _active("tensor_dim").tensor_dim(t, i, dtype)

    @staticmethod
    def tensor_empty(*dims: Any, dtype: torch.dtype = torch.float32) -> Any:
        """Return a tensor of the shape `dims` and a `dtype`, whose elements are undefined."""
        return _active("tensor_empty").tensor_empty(dims, dtype)

    @staticmethod
    def tensor_splat(*dims: Any, value: Any, dtype: torch.dtype = torch.float32) -> Any:
        """Return a tensor of the shape `dims` and a `dtype`, whose elements all are `value`.

        The value is a number or a scalar of the procedure.
        """
        return _active("tensor_splat").tensor_splat(dims, value, dtype)

    @staticmethod
    def tensor_reshape(t: Any, *dims: Any) -> Any:
        """Return a tensor with the elements of `t` in the same order, and the shape `dims`."""
        return _active("tensor_reshape").tensor_reshape(t, dims)

    @staticmethod
    def tensor_slice(t: Any, *indices: Any) -> Any:
        """Return a part of the tensor `t`, of the same rank.

        Each of `indices` is a number, for one element, or `(start, length)`; dims without one are whole.
        """
        return _active("tensor_slice").tensor_slice(t, indices)

    @staticmethod
    def tensor_update(target: Any, update: Any, *start: Any) -> Any:
        """Return `target` with `update`, of the same rank and dtype, written from index `start` on.

        `self.cache = IREE.tensor_update(self.cache, new, 0, position, 0)` writes into the memory of the
        global, whatever its size. Dims without a start begin at 0.
        """
        return _active("tensor_update").tensor_update(target, update, start)

    @staticmethod
    def tensor_load(t: Any, *indices: Any) -> Any:
        """Return the element of `t` at `indices` as a scalar; the artifact waits for the tensor there."""
        return _active("tensor_load").tensor_load(t, indices)

    @staticmethod
    def tensor_trace(key: str, *tensors: Any) -> None:
        """Print `tensors` under the name `key` to stderr when the compiled function runs."""
        _active("tensor_trace").tensor_trace(key, tensors)


def _active(name: str) -> recorder.Recorder:
    return recorder.require(f"aot.IREE.{name}", "torch operations")
