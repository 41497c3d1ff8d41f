# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Results of a torch function that may be the memory of an argument or a global, as it is or written to."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import torch
from torch.export.graph_signature import ConstantArgument, InputKind, OutputKind

_RESULTS = (OutputKind.USER_OUTPUT, OutputKind.LOSS_OUTPUT)
# Operators that give their first argument's elements, and may be compiled to nothing.
_KEEPING = {
    "_to_copy",
    "_unsafe_view",
    "alias",
    "clone",
    "contiguous",
    "detach",
    "expand",
    "lift_fresh_copy",
    "permute",
    "reshape",
    "select",
    "slice",
    "squeeze",
    "t",
    "transpose",
    "unsqueeze",
    "view",
}
# Operators that write into their first argument where nothing else needs it.
_WRITING = {
    "_index_put_impl",
    "_unsafe_index_put",
    "diagonal_scatter",
    "index_add",
    "index_copy",
    "index_fill",
    "index_put",
    "scatter",
    "scatter_add",
    "scatter_reduce",
    "select_scatter",
    "slice_scatter",
}


def constant_results(program: torch.export.ExportedProgram, mutable: Mapping[str, str]) -> set[int]:
    """Return the numbers of the results that depend on no argument and on no mutable global.

    The compiler computes them once: they are memory of the module, which it does not let a global have.
    """
    varying = {
        spec.arg.name
        for spec in program.graph_signature.input_specs
        if spec.kind is InputKind.USER_INPUT or str(spec.target) in mutable
    }
    for node in program.graph.nodes:
        if any(argument.name in varying for argument in node.all_input_nodes):
            varying.add(node.name)
    return {number for number, spec in enumerate(_kept(program)) if spec.arg.name not in varying}


def shared_results(
    program: torch.export.ExportedProgram, globals: Mapping[str, str]
) -> Iterator[tuple[int, int | None]]:
    """Yield the results that may be memory of an argument, with its number; of a global, with None."""
    for number, origin, inputs in _origins(program, globals, _KEEPING):
        if origin in inputs:
            yield number, inputs[origin]


def updated_results(program: torch.export.ExportedProgram) -> Iterator[tuple[int, int]]:
    """Yield the results that may be written into the memory of an argument, with its number."""
    for number, origin, inputs in _origins(program, {}, _KEEPING | _WRITING):
        argument = inputs.get(origin)
        if argument is not None:
            yield number, argument


def _origins(
    program: torch.export.ExportedProgram, globals: Mapping[str, str], operators: Collection[str]
) -> Iterator[tuple[int, str, Mapping[str, int | None]]]:
    """Yield the number of each result and the node that it comes from, beside the inputs by name."""
    nodes = {node.name: node for node in program.graph.nodes}
    inputs: dict[str, int | None] = {}
    count = 0
    for spec in program.graph_signature.input_specs:
        if spec.kind is InputKind.USER_INPUT and not isinstance(spec.arg, ConstantArgument):
            inputs[spec.arg.name] = count
            count += 1
        elif spec.target is not None and str(spec.target) in globals:
            inputs[spec.arg.name] = None
    for number, spec in enumerate(_kept(program)):
        yield number, _origin(nodes[spec.arg.name], operators).name, inputs


def _kept(program: torch.export.ExportedProgram) -> list[Any]:
    """Return what the graph signature says of the results, in order."""
    return [
        spec
        for spec in program.graph_signature.output_specs
        if spec.kind in _RESULTS and not isinstance(spec.arg, ConstantArgument)
    ]


def _origin(node: Any, operators: Collection[str]) -> Any:
    while (
        isinstance(node.target, torch._ops.OpOverload)
        and node.target.overloadpacket.__name__ in operators
        and isinstance(node.args[0], torch.fx.Node)
    ):
        node = node.args[0]
    return node
