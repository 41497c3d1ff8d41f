# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Captured graphs that compute with quantized globals in the place of float ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import fx
from torch.export.graph_signature import InputKind, InputSpec, TensorArgument

from shark_turbine.decompositions.graph import Builder, fake_mode

from ..program import JitFunction
from .stored import StoredWeight

aten = torch.ops.aten
ours = torch.ops.shark_turbine


def feeding_weights(function: JitFunction) -> Iterator[str]:
    """Yield the symbols of the globals that a function multiplies by or looks rows up in.

    These are the weights of `linear`, of `embedding`, and of `x @ weight.T`.
    """
    for node, symbol in _weights(function):
        if any(
            use(user, node)
            for user in node.users
            for use in (_is_linear, _is_embedding, _is_transposed)
        ):
            yield symbol


def rewrite_function(function: JitFunction, chosen: Mapping[str, StoredWeight]) -> JitFunction:
    """Return a function that reads `<symbol>.q8` and `<symbol>.scales`; its graph is changed in place.

    Linear layers and embeddings compute with the integers; any other reader of the weight gets it
    turned back into floats.
    """
    symbols = dict(function.globals)
    for weight, symbol in list(_weights(function)):
        stored = chosen.get(symbol)
        if stored is None:
            continue
        operands = _placeholders(function.program, weight, symbol, stored, symbols)
        _rewrite_uses(weight, operands, stored)
        _rename_outputs(function.program, weight)
    if symbols == function.globals:
        return function
    function.program.graph_module.recompile()
    return dataclasses.replace(function, globals=symbols)


def _weights(function: JitFunction) -> Iterator[tuple[fx.Node, str]]:
    by_name = {node.name: node for node in function.program.graph.nodes}
    for entry in function.program.graph_signature.input_specs:
        symbol = function.globals.get(str(entry.target))
        node = by_name.get(entry.arg.name)
        if symbol is not None and node is not None and node.users:
            yield node, symbol


def _is_linear(user: fx.Node, weight: fx.Node) -> bool:
    if user.target is not aten.linear.default or user.args[1] is not weight:
        return False
    return weight not in (user.args[0], *user.args[2:])


def _is_embedding(user: fx.Node, weight: fx.Node) -> bool:
    return user.target is aten.embedding.default and user.args[0] is weight


def _is_transposed(user: fx.Node, weight: fx.Node) -> bool:
    """Whether `user` is `weight.T`, and only read as in `x @ weight.T`."""
    if user.target not in _TRANSPOSITIONS or user.args[0] is not weight or not user.users:
        return False
    order = user.args[1:]
    if user.target is aten.permute.default:
        is_swapped = [axis % 2 for axis in order[0]] == [1, 0]  # type: ignore[union-attr, operator]
    else:
        is_swapped = not order or {axis % 2 for axis in order} == {0, 1}  # type: ignore[operator]
    return is_swapped and all(
        product.target in _PRODUCTS and product.args[1] is user and product.args[0] is not user
        for product in user.users
    )


_TRANSPOSITIONS = {aten.t.default, aten.permute.default, aten.transpose.int, aten.numpy_T.default}
_PRODUCTS = {aten.matmul.default, aten.mm.default}


def _placeholders(
    program: torch.export.ExportedProgram,
    weight: fx.Node,
    symbol: str,
    stored: StoredWeight,
    symbols: dict[str, str],
) -> tuple[fx.Node, fx.Node]:
    """Add inputs for integers and scales behind that of the weight, which nothing will read."""
    specs = program.graph_signature.input_specs
    position = next(i for i, entry in enumerate(specs) if entry.arg.name == weight.name)
    old = str(specs[position].target)
    symbols.pop(old)
    after, nodes = weight, []
    for number, (suffix, tensor) in enumerate(
        zip(stored.suffixes, (stored.data, stored.scales), strict=True), 1
    ):
        target = old + suffix
        with program.graph.inserting_after(after):
            after = program.graph.placeholder(f"{weight.name}{suffix.replace('.', '_')}")
        with fake_mode(program.graph):
            after.meta["val"] = torch.empty(tensor.shape, dtype=tensor.dtype)
        entry = InputSpec(InputKind.BUFFER, TensorArgument(name=after.name), target, True)
        specs.insert(position + number, entry)
        symbols[target] = symbol + suffix
        nodes.append(after)
    return nodes[0], nodes[1]


def _rewrite_uses(weight: fx.Node, operands: tuple[fx.Node, fx.Node], stored: StoredWeight) -> None:
    rows = stored.shape[0]
    for user in list(weight.users):
        builder = Builder(user)
        if _is_linear(user, weight):
            result = builder.call(ours.quantized_linear.default, user.args[0], *operands, rows)
            bias: Any = user.args[2] if len(user.args) > 2 else None
            if bias is not None:
                result = builder.call(aten.add.Tensor, result, bias)
            builder.replace(result)
        elif _is_embedding(user, weight):
            looked_up = ours.quantized_embedding.default
            builder.replace(builder.call(looked_up, user.args[1], *operands, rows, stored.dtype))
        elif _is_transposed(user, weight):
            for product in list(user.users):
                builder = Builder(product)
                builder.replace(
                    builder.call(ours.quantized_linear.default, product.args[0], *operands, rows)
                )
            user.graph.erase_node(user)
        else:
            floats = builder.call(ours.dequantize.default, *operands, rows, stored.dtype)
            user.replace_input_with(weight, floats)


def _rename_outputs(program: torch.export.ExportedProgram, weight: fx.Node) -> None:
    """Have the signature name what the graph returns now where it returned the weight itself."""
    returned = program.graph.output_node().args[0]
    results = returned if isinstance(returned, (list, tuple)) else [returned]
    for entry, node in zip(program.graph_signature.output_specs, results, strict=True):
        if isinstance(entry.arg, TensorArgument) and entry.arg.name == weight.name:
            assert isinstance(node, fx.Node)
            entry.arg = TensorArgument(name=node.name)
