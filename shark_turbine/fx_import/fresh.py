# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Tensors to write into that nobody else writes into.

The compiler makes equal tensors once, such as the zeros that two writes start from, and writes in place.
Where their sizes are dynamic it then forgets the copy that the second write needs: the second starts from
the result of the first. So each write gets zeros that the compiler cannot know to be the same.
"""

from __future__ import annotations

from typing import Any

import torch
from iree.compiler.extras.fx_importer import TORCH_DTYPE_TO_INT
from torch import fx

from shark_turbine import ir

aten = torch.ops.aten

# They write into their first argument, as far as the compiler is concerned.
WRITES = {
    aten.index_put.default,
    aten._index_put_impl.default,
    aten._unsafe_index_put.default,
    aten.index_add.default,
    aten.index_copy.default,
    aten.index_fill.int_Scalar,
    aten.index_fill.int_Tensor,
    aten.masked_scatter.default,
    aten.scatter.reduce,
    aten.scatter.src,
    aten.scatter.value,
    aten.scatter.value_reduce,
    aten.scatter_add.default,
    aten.scatter_reduce.two,
    aten.select_scatter.default,
    aten.slice_scatter.default,
    aten.diagonal_scatter.default,
}
# What keeps a tensor of one number one.
_UNIFORM = {
    aten.alias.default,
    aten.clone.default,
    aten.detach.default,
    aten.expand.default,
    aten.permute.default,
    aten.reshape.default,
    aten.select.int,
    aten.slice.Tensor,
    aten.squeeze.default,
    aten.squeeze.dim,
    aten.squeeze.dims,
    aten.t.default,
    aten.transpose.int,
    aten.unsqueeze.default,
    aten.view.default,
    aten._unsafe_view.default,
}
_ZEROS = {"zeros", "zeros_like", "new_zeros", "empty", "empty_like", "new_empty", "empty_strided"}
_ONES = {"ones", "ones_like", "new_ones"}
_FULL = {"full": 1, "full_like": 1, "new_full": 2}


def fill_value(node: Any) -> bool | int | float | None:
    """Return the number that every element of a tensor is; None where it is not known to be one."""
    while isinstance(node, fx.Node) and node.target in _UNIFORM:
        node = node.args[0]
    if not isinstance(node, fx.Node) or not isinstance(node.target, torch._ops.OpOverload):
        return None
    name = node.target.overloadpacket.__name__
    if name in _ZEROS:
        return 0
    if name in _ONES:
        return 1
    number = node.args[_FULL[name]] if name in _FULL else None
    return number if isinstance(number, (bool, int, float)) else None


def is_written(node: fx.Node) -> bool:
    """Say whether an operator may write into the memory of a node's value, seen in any shape."""
    return any(
        (user.target in WRITES and user.args[0] is node)
        or (user.target in _UNIFORM and user.args[0] is node and is_written(user))
        for user in node.users
    )


def fresh_fill(like: Any, value: torch.Tensor, number: bool | int | float, mark: int) -> Any:
    """Write a tensor of one number at the insertion point, and return it.

    Args:
        like: a tensor of the same type, for its dynamic sizes.
        value: what tracing knows of it.
        number: its elements.
        mark: a number that no other call for this module has.
    """
    sizes = [
        _constant(size) if isinstance(size, int) else _size(like, dim)
        for dim, size in enumerate(value.shape)
    ]
    as_list = _operation("torch.prim.ListConstruct", "!torch.list<int>", *sizes)
    scalar = _unknown(number, mark)
    dtype = _constant(TORCH_DTYPE_TO_INT[value.dtype])
    none = _operation("torch.constant.none", "!torch.none")
    return _operation("torch.aten.full", str(like.type), as_list, scalar, dtype, none, none, none)


def _unknown(number: bool | int | float, mark: int) -> Any:
    """Write a number so that no other is known to equal it: 5 + (hidden mark - mark).

    A whole number stays one, whatever the dtype: a float64 in a module costs its other numbers speed.
    """
    hidden = _operation("util.optimization_barrier", "i64", _arith(mark, "i64"))
    zero = _operation("arith.subi", "i64", hidden, _arith(mark, "i64"))
    if float(number).is_integer():
        total = _operation("arith.addi", "i64", zero, _arith(int(number), "i64"))
        return _operation("torch_c.from_i64", "!torch.int", total)
    wide = _operation("arith.sitofp", "f64", zero)
    total = _operation("arith.addf", "f64", wide, _arith(float(number), "f64"))
    return _operation("torch_c.from_f64", "!torch.float", total)


def _arith(number: Any, kind_name: str) -> Any:
    kind = ir.Type.parse(kind_name)
    attribute = ir.FloatAttr if isinstance(number, float) else ir.IntegerAttr
    return ir.arith.ConstantOp(kind, attribute.get(kind, number)).result


def _size(tensor: Any, dim: int) -> Any:
    return _operation("torch.aten.size.int", "!torch.int", tensor, _constant(dim))


def _constant(number: int) -> Any:
    kind = ir.IntegerType.get_signless(64)
    return _operation("torch.constant.int", "!torch.int", value=ir.IntegerAttr.get(kind, number))


def _operation(name: str, result: str, *operands: Any, **attributes: Any) -> Any:
    return ir.Operation.create(
        name, results=[ir.Type.parse(result)], operands=list(operands), attributes=attributes
    ).result
