# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A graph as a module with one public function on builtin tensors."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import fx

from shark_turbine import dtypes, ir
from shark_turbine.signature import (
    Argument,
    FunctionSignature,
    Leaf,
    Parameter,
    SequenceTree,
    ValueType,
)

from .importer import ProgramImporter

# A number in a graph: the builtin type, how it becomes a torch value, and its name in signatures.
_NUMBERS: dict[type, tuple[str, str, str]] = {
    torch.SymInt: ("i64", "torch_c.from_i64", "i64"),
    torch.SymFloat: ("f64", "torch_c.from_f64", "f64"),
    torch.SymBool: ("i1", "torch_c.from_i1", "bool"),
}


def module_of_graph(
    graph_module: fx.GraphModule,
    *,
    name: str,
    function_name: str = "main",
    parameters: Collection[str] = (),
    scope: str = "model",
) -> tuple[Any, FunctionSignature]:
    """Write a graph as the only function of a new module; return both module and signature.

    The function leaves the memory of its arguments alone. Nothing is checked on entry.

    Args:
        graph_module: a functional graph, rewritten by `decompositions.prepare_graph`, that returns
            a sequence of tensors.
        name: the module's symbol.
        function_name: the function's symbol.
        parameters: names of placeholders of static shape that are no arguments: the module reads
            them once, when it is loaded, as external parameters of these names.
        scope: the scope of those parameters.

    Raises:
        TracingError: the graph holds an operator or structure that cannot be written.
        UnsupportedTypeError: a dtype or an input that cannot be carried.
    """
    context = ir.Context()
    with context, ir.Location.unknown():
        module = ir.Module.create()
        module.operation.attributes["sym_name"] = ir.StringAttr.get(name)
        inner = ProgramImporter(module).import_graph(graph_module, name=f"{function_name}$torch")
        signature = _signature(graph_module, function_name, parameters)
        placeholders = [node for node in graph_module.graph.nodes if node.op == "placeholder"]
        place = ir.InsertionPoint.at_block_begin(module.body)
        loads = {}
        for node in placeholders:
            if node.name in parameters:
                loads[node.name] = _emit_parameter(node, scope, place, context)
        names = [node.name for node in placeholders]
        _emit_entry(inner, signature, names, loads, place, context)
    return module, signature


def _emit_parameter(node: fx.Node, scope: str, place: Any, context: Any) -> Any:
    """Write a global for an external parameter; return its type."""
    kind = _builtin(_value_type(node.meta["val"], {}), context)
    source = f"#flow.parameter.named<{json.dumps(scope)}::{json.dumps(node.name)}> : {kind}"
    ir.Operation.create(
        "util.global",
        attributes={
            "sym_name": ir.StringAttr.get(node.name),
            "sym_visibility": ir.StringAttr.get("private"),
            "type": ir.TypeAttr.get(kind),
            "initial_value": ir.Attribute.parse(source, context),
        },
        ip=place,
    )
    return kind


def _emit_entry(
    inner: Any,
    signature: FunctionSignature,
    names: Sequence[str],
    loads: Mapping[str, Any],
    place: Any,
    context: Any,
) -> None:
    """Write the public function: convert arguments, load parameters, call, convert results."""
    inputs = [_builtin(argument.type, context) for argument in signature.arguments]
    results = [_builtin(result, context) for result in signature.results]
    function = ir.func.FuncOp(signature.name, ir.FunctionType.get(inputs, results), ip=place)
    block = ir.Block.create_at_start(function.body, inputs)
    with ir.InsertionPoint(block):
        given = dict(zip((each.name for each in signature.arguments), block.arguments, strict=True))
        kinds = {argument.name: argument.type for argument in signature.arguments}
        values = []
        for name, wanted in zip(names, inner.type.inputs, strict=True):
            value = given[name] if name in given else ir.load_global(name, loads[name])
            values.append(_convert(_from_builtin(kinds.get(name)), wanted, value))
        call = ir.func.CallOp(
            list(inner.type.results), ir.FlatSymbolRefAttr.get(inner.name.value), values
        )
        returned = [
            _convert("torch_c.to_builtin_tensor", wanted, value)
            for wanted, value in zip(results, call.results, strict=True)
        ]
        ir.keep_alive(block.arguments)
        ir.func.ReturnOp(returned)


def _signature(
    graph_module: fx.GraphModule, name: str, parameters: Collection[str]
) -> FunctionSignature:
    graph = graph_module.graph
    dims: dict[str, str] = {}
    arguments = tuple(
        Argument(node.name, _value_type(node.meta["val"], dims))
        for node in graph.nodes
        if node.op == "placeholder" and node.name not in parameters
    )
    outputs: Any = graph.output_node().args[0]
    results = tuple(_value_type(node.meta["val"], dims) for node in outputs)
    return FunctionSignature(
        name,
        tuple(Parameter(each.name, Leaf(index)) for index, each in enumerate(arguments)),
        arguments,
        SequenceTree(tuple, tuple(Leaf(index) for index in range(len(results)))),
        results,
    )


def _value_type(value: Any, dims: dict[str, str]) -> ValueType:
    if not isinstance(value, torch.Tensor):
        return ValueType(_NUMBERS[type(value)][2], None)
    shape = tuple(
        size if isinstance(size, int) else dims.setdefault(str(size), f"d{len(dims)}")
        for size in value.shape
    )
    return ValueType(dtypes.from_torch(value.dtype).name, shape)


def _builtin(kind: ValueType, context: Any) -> Any:
    if kind.shape is None:
        return ir.Type.parse({"bool": "i1"}.get(kind.dtype, kind.dtype), context)
    shape = [size if isinstance(size, int) else None for size in kind.shape]
    return ir.tensor_type(dtypes.from_name(kind.dtype), shape, context)


def _from_builtin(kind: ValueType | None) -> str:
    """Return the conversion of an argument, or of a parameter: these are tensors."""
    if kind is None or kind.shape is not None:
        return "torch_c.from_builtin_tensor"
    return next(name for _, name, dtype in _NUMBERS.values() if dtype == kind.dtype)


def _convert(operation: str, target: Any, value: Any) -> Any:
    return ir.Operation.create(operation, results=[target], operands=[value]).result
