# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""From a program as `torch.export` gives it to one that the importer and the compiler take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind

from shark_turbine.trees import flat_structure

from .aliasing import separate_selections, separate_values
from .checks import insert_checks
from .empty import skip_empty
from .graph import graphs
from .joint_index import join_indices
from .rewrites import rewrite, use_checked_forms
from .table import current_aot_decompositions, required_decompositions
from .unsigned import widen
from .views import split_views


def prepare(
    program: ExportedProgram,
    *,
    decomposition_table: Mapping[Any, Callable[..., Any]] | None = None,
) -> ExportedProgram:
    """Decompose and rewrite an exported program; the argument stays as it is.

    Beside the table, what is needed for right numbers is always done: operators that the compiler
    gets wrong are replaced, and checks of indices and divisors are written in.

    Args:
        program: what `torch.export.export` returned.
        decomposition_table: from operators to functions that compute them with others; by default
            the table in force (see `extend_aot_decompositions`).
    """
    table = current_aot_decompositions() if decomposition_table is None else decomposition_table
    prepared = _decompose(program, {**required_decompositions(), **table})
    _rewrite(prepared.graph_module, _constants(prepared))
    return prepared


def prepare_graph(graph_module: fx.GraphModule) -> None:
    """Rewrite a functional graph that is decomposed already, in place.

    Tensors that are its attributes count as constants: no call changes them.
    """

    def constant(node: fx.Node) -> Any:
        return getattr(graph_module, str(node.target)) if node.op == "get_attr" else None

    _rewrite(graph_module, constant)


def _rewrite(graph_module: fx.GraphModule, constants: Callable[[fx.Node], Any]) -> None:
    for module in graphs(graph_module):
        skip_empty(module.graph)
        rewrite(module.graph)
        widen(module.graph)
        split_views(module.graph)
        insert_checks(module.graph, constants)
        separate_values(module.graph)
        separate_selections(module.graph)
        use_checked_forms(module.graph)
        join_indices(module.graph, constants)
        module.graph.lint()
        module.recompile()


def _decompose(
    program: ExportedProgram, table: Mapping[Any, Callable[..., Any]]
) -> ExportedProgram:
    """Decompose with a flat list as the result, and put the structure back.

    PyTorch rebuilds results while it traces again. A class that computes when it is rebuilt (the
    key-value caches of transformers do) would write those computations into the graph.
    """
    structure = program.call_spec.out_spec
    if structure is None or program.module_call_graph[0].signature is None:
        return program.run_decompositions(dict(table))
    flat = program._update(program.graph_module, program.graph_signature)
    _set_result_structure(flat, flat_structure(structure.num_leaves))
    prepared = flat.run_decompositions(dict(table))
    _set_result_structure(prepared, structure)
    return prepared


def _set_result_structure(program: ExportedProgram, structure: Any) -> None:
    entry = program.module_call_graph[0].signature
    assert entry is not None
    entry.out_spec = structure


def _constants(program: ExportedProgram) -> Callable[[fx.Node], Any]:
    """Return how to look up the tensor behind a placeholder that no call changes."""
    signature = program.graph_signature
    mutated = {
        spec.target for spec in signature.output_specs if spec.kind is not OutputKind.USER_OUTPUT
    }
    values: dict[str, Any] = {}
    for spec in signature.input_specs:
        if spec.target is None or spec.target in mutated:
            continue
        if spec.kind is InputKind.CONSTANT_TENSOR:
            values[spec.arg.name] = program.constants.get(spec.target)
        elif spec.kind is InputKind.BUFFER and spec.target not in program.state_dict:
            # A buffer that is not saved with the module is not state that users replace.
            values[spec.arg.name] = program.constants.get(spec.target)

    def constant(node: fx.Node) -> Any:
        if node.graph is not program.graph:
            return None
        if node.op == "get_attr":
            found = getattr(program.graph_module, str(node.target), None)
            return found if isinstance(found, torch.Tensor) else None
        return values.get(node.name)

    return constant
