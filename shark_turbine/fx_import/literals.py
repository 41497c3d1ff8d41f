# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Constant tensors as MLIR attributes: one attribute per distinct tensor, without copying its bytes."""

from __future__ import annotations

from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor, unset_fake_temporarily

from shark_turbine import dtypes, ir
from shark_turbine.errors import TracingError, UnsupportedTypeError

# Small constants are folded into kernels, and there the compiler cannot convert a resource (bf16 fails to verify).
_LARGEST_INLINE_BYTES = 1024

_Key = tuple[int, torch.dtype, tuple[int, ...], tuple[int, ...], bool, bool]


class LiteralTable:
    """The constants of one module.

    A tensor is recognised by its memory (address, dtype, shape, strides), so that views made anew
    by each trace are still one constant. Large tensors are not copied: the attribute refers to the
    tensor's own memory, which therefore must not change before the module is written or compiled.
    """

    def __init__(self, context: Any) -> None:
        self._context = context
        self._attributes: dict[_Key, Any] = {}
        # An address means nothing once its tensor is gone.
        self._kept_alive: list[torch.Tensor] = []

    def literal(self, tensor: torch.Tensor) -> Any:
        """Write a `torch.vtensor.literal` at the insertion point; return its value."""
        row = dtypes.from_torch(tensor.dtype, what="a constant tensor")
        result_type = ir.torch_tensor_type(row, tensor.shape, self._context)
        if row.name == "bool" and tensor.numel() > _LARGEST_INLINE_BYTES:
            return self._wide_bool(tensor, result_type)
        if row.torch.is_complex and tensor.numel() == 0:
            return self._empty_complex(tensor, result_type)
        operation = ir.Operation.create(
            "torch.vtensor.literal",
            results=[result_type],
            attributes={"value": self._attribute(tensor, row)},
        )
        return operation.result

    def _wide_bool(self, tensor: torch.Tensor, result_type: Any) -> Any:
        """Store booleans as bytes: the packing of `i1` resources differs between MLIR's users."""
        stored = self.literal(tensor.to(torch.uint8))
        with self._context:
            zero = _constant_int(0, self._context)
        return ir.Operation.create(
            "torch.aten.ne.Scalar", results=[result_type], operands=[stored, zero]
        ).result

    def _empty_complex(self, tensor: torch.Tensor, result_type: Any) -> Any:
        """Convert a literal of no floats: the bindings cannot hold one of no complex numbers."""
        stored = self.literal(tensor.real)
        kind = {torch.complex64: 9, torch.complex128: 10}[tensor.dtype]  # c10::ScalarType
        with self._context:
            number = _constant_int(kind, self._context)
        return ir.Operation.create(
            "torch.prims.convert_element_type", results=[result_type], operands=[stored, number]
        ).result

    def _attribute(self, tensor: torch.Tensor, row: dtypes.DType) -> Any:
        if isinstance(tensor, FakeTensor) or tensor.is_meta:
            raise TracingError(
                "a constant tensor has no data: it was made under a fake-tensor mode or on the meta device",
                got=f"{row}{list(tensor.shape)} on {tensor.device}",
                expected="a tensor with data",
                fix="load the weights before exporting, or declare the tensor with export_global",
            )
        key = (
            tensor.data_ptr(),
            tensor.dtype,
            tuple(tensor.shape),
            tensor.stride(),
            tensor.is_conj(),
            tensor.is_neg(),
        )
        if key not in self._attributes:
            self._kept_alive.append(tensor)
            self._attributes[key] = elements_attribute(tensor, row.torch_mlir, self._context)
        return self._attributes[key]


def _constant_int(value: int, context: Any) -> Any:
    attribute = ir.IntegerAttr.get(ir.IntegerType.get_signless(64, context), value)
    return ir.Operation.create(
        "torch.constant.int",
        results=[ir.Type.parse("!torch.int", context)],
        attributes={"value": attribute},
    ).result


def elements_attribute(tensor: torch.Tensor, element_type: str, context: Any) -> Any:
    """Return the elements of a tensor as an attribute; large ones refer to the tensor's own memory.

    `element_type` is MLIR text: signless for builtin tensors, with a sign for `!torch.vtensor`.
    """
    row = dtypes.from_torch(tensor.dtype, what="a constant tensor")
    dims = "".join(f"{dim}x" for dim in tensor.shape)
    shaped = ir.Type.parse(f"tensor<{dims}{element_type}>", context)
    if tensor.numel() == 0:
        return ir.Attribute.parse(f"dense<> : {shaped}", context)
    if row.name == "complex128":
        raise UnsupportedTypeError(
            "a stored tensor is complex128, which IREE's compiler cannot store (it crashes)",
            got=f"{row}{list(tensor.shape)}",
            expected="complex64, or two float64 numbers for each element",
            fix="store torch.view_as_real(x), and use torch.view_as_complex in the function",
        )
    array = _bytes(tensor)
    # IREE cannot read a resource of 8-bit floats.
    is_small = array.nbytes <= _LARGEST_INLINE_BYTES or row.name.startswith("f8")
    if row.name == "bool" or is_small:
        return ir.DenseElementsAttr.get(
            array if row.name == "bool" else array.view(row.numpy),
            type=ir.Type.parse(element_type, context),
            shape=list(tensor.shape),
        )
    name = f"torch_tensor_{'_'.join(str(dim) for dim in tensor.shape)}_{row.name}"
    with context:
        return ir.DenseResourceElementsAttr.get_from_buffer(array.view(row.numpy), name, shaped)


def _bytes(tensor: torch.Tensor) -> Any:
    """Return the elements in row-major order as bytes: the tensor's own memory where it is so laid out."""
    with unset_fake_temporarily(), torch.no_grad():
        dense = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
        return dense.reshape(-1).view(torch.uint8).numpy()
