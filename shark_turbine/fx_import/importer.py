# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""From `torch.export.ExportedProgram` to `func.func`.

The function takes the program's tensor and symbolic-scalar inputs and returns its tensor and
symbolic-scalar results, then the new values of mutated inputs: it never mutates an argument.
Constant and None inputs and results are not part of it; the caller knows them from the program's
call and output structure.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from iree.compiler.extras.fx_as_strided import rewrite_as_strided
from iree.compiler.extras.fx_importer import ContextCache, FxImporter
from torch import fx
from torch.export.graph_signature import (
    ConstantArgument,
    InputKind,
    InputSpec,
    OutputKind,
    SymBoolArgument,
    SymFloatArgument,
    SymIntArgument,
    TensorArgument,
)

from shark_turbine import dtypes, ir
from shark_turbine.errors import TracingError, UnsupportedTypeError

from .fresh import is_written
from .literals import LiteralTable
from .locations import source_location
from .nodes import NodeImporter
from .quantized import QuantizedFunctions

_VALUES = (TensorArgument, SymIntArgument, SymFloatArgument, SymBoolArgument)
_RESULTS = (OutputKind.USER_OUTPUT, OutputKind.LOSS_OUTPUT)
_MUTATIONS = {OutputKind.BUFFER_MUTATION, OutputKind.USER_INPUT_MUTATION}
_MUTATIONS |= {kind for kind in OutputKind if kind.name == "PARAMETER_MUTATION"}


class _TypeCache(ContextCache):
    """Element types from the one dtype table: it has rows that the bundled importer lacks."""

    __slots__ = ()

    def get_vtensor_type(self, shape: Any, dtype: Any, *, val: Any = None, mutable: bool = False):
        if val is not None and val.layout is not torch.strided:
            raise UnsupportedTypeError(
                "a sparse tensor cannot be carried into a compiled module",
                got=val.layout,
                expected="dense tensors",
                fix="convert it first, for example with .to_dense()",
            )
        return super().get_vtensor_type(shape, dtype, val=val, mutable=mutable)

    def dtype_to_type(self, dtype: torch.dtype) -> Any:
        found = self._dtype_to_type.get(dtype)
        if found is None:
            found = ir.Type.parse(dtypes.from_torch(dtype).torch_mlir, self._c)
            self._dtype_to_type[dtype] = found
        return found


class ProgramImporter:
    """Writes exported programs as functions into ONE module; equal constants are stored once."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self._context = module.context
        self._importer = FxImporter(module=module, config_check=False)
        self._importer._cc = _TypeCache(self._context)
        self._literals = LiteralTable(self._context)
        self._quantized = QuantizedFunctions(module)
        self._marks = itertools.count(1)
        # Functions of child graphs are found by identity, which must not be reused.
        self._children: dict[int, tuple[fx.GraphModule, str]] = {}

    def import_function(
        self,
        program: torch.export.ExportedProgram,
        *,
        name: str,
        globals: Mapping[str, str] | None = None,
        visibility: str = "private",
    ) -> Any:
        """Write a program as the function `name` and return the `func.func`.

        Args:
            program: a functional program, as `decompositions.prepare` returns it.
            name: a symbol that is free in the module.
            globals: from the targets of parameters, buffers and lifted constants to symbols of
                `util.global` operations of builtin tensor type: they are loaded, and stored where
                the program mutates them. Every other target becomes a constant.
            visibility: `private` or `public`.

        Raises:
            TracingError: the program holds an operator or structure that cannot be written, or
                mutates a buffer that is no global.
            UnsupportedTypeError: a dtype or an input that cannot be carried.
        """
        rewrite_as_strided(program.graph)
        plan = _Plan.of(program, globals or {})
        for child_name, child in program.graph_module.named_children():
            if isinstance(child, fx.GraphModule):
                self._import_child(child, f"{name}${child_name}")
        function, nodes = self._begin(name, plan.parameters, plan.results, visibility)
        with function.location, ir.InsertionPoint(function.body.blocks[0]):
            for node, value in plan.constants.items():
                nodes.bind_literal(node, value)
            stored = {symbol for _, symbol in plan.stores}
            for node, symbol in plan.loads.items():
                nodes.bind_global(node, symbol, is_kept=symbol not in stored and is_written(node))
        nodes.import_graph(program.graph.nodes)
        with function.location, ir.InsertionPoint(function.body.blocks[0]):
            results = [nodes.value_of(node) for node in plan.results]
            for node, symbol in plan.stores:
                nodes.store_global(node, symbol)
            ir.func.ReturnOp(results)
        return function

    def import_graph(
        self, graph_module: fx.GraphModule, *, name: str, visibility: str = "private"
    ) -> Any:
        """Write a plain graph as the function `name` and return the `func.func`.

        Placeholders are its parameters, what the graph returns are its results; tensors that are
        attributes of the graph module become constants.

        Args:
            graph_module: a functional graph whose nodes carry `meta["val"]`.
            name: a symbol that is free in the module.
            visibility: `private` or `public`.

        Raises:
            TracingError: the graph holds an operator or structure that cannot be written.
            UnsupportedTypeError: a dtype or an input that cannot be carried.
        """
        for child_name, child in graph_module.named_children():
            if isinstance(child, fx.GraphModule):
                self._import_child(child, f"{name}${child_name}")
        graph = graph_module.graph
        rewrite_as_strided(graph)
        parameters = [node for node in graph.nodes if node.op == "placeholder"]
        output = graph.output_node().args[0]
        results = list(output) if isinstance(output, (list, tuple)) else [output]
        function, nodes = self._begin(name, parameters, results, visibility)
        nodes.import_graph(graph.nodes)
        with function.location, ir.InsertionPoint(function.body.blocks[0]):
            ir.func.ReturnOp([nodes.value_of(node) for node in results])
        return function

    def _import_child(self, graph_module: fx.GraphModule, name: str) -> None:
        if id(graph_module) not in self._children:
            self._children[id(graph_module)] = (graph_module, name)
            self.import_graph(graph_module, name=name)

    def _begin(
        self, name: str, parameters: Sequence[Any], results: Sequence[Any], visibility: str
    ) -> tuple[Any, NodeImporter]:
        """Open a function and bind its parameters."""
        cache = self._importer._cc
        with self._context, self._location(parameters, results):
            function_type = ir.FunctionType.get(
                [cache.node_val_to_type(node) for node in parameters],
                [_result_type(cache, node) for node in results],
            )
            function = ir.func.FuncOp(
                name,
                function_type,
                ip=ir.InsertionPoint(self._module.body),
                visibility=None if visibility == "public" else visibility,
            )
            function.attributes["torch.assume_strict_symbolic_shapes"] = ir.UnitAttr.get()
            block = ir.Block.create_at_start(function.body, function_type.inputs)
        nodes = NodeImporter(self._importer, self._context, cache, block)
        nodes.attach(self._literals, self._children, self._marks, self._quantized)
        for node, value in zip(parameters, block.arguments, strict=True):
            nodes.bind_node_value(node, value)
        return function, nodes

    def _location(self, *candidates: Sequence[Any]) -> Any:
        for nodes in candidates:
            for node in nodes:
                place = source_location(node) if isinstance(node, fx.Node) else None
                if place is not None:
                    return ir.Location.file(place.file, place.line, 0, self._context)
        return ir.Location.unknown(self._context)


def _result_type(cache: ContextCache, node: Any) -> Any:
    if isinstance(node, fx.Node):
        return cache.node_val_to_type(node)
    return cache.value_info_to_type(node)


@dataclass(slots=True)
class _Plan:
    """What each placeholder is bound to, and what the function gives back."""

    parameters: list[fx.Node]
    constants: dict[fx.Node, Any]
    loads: dict[fx.Node, str]
    results: list[fx.Node]
    stores: list[tuple[fx.Node, str]]

    @classmethod
    def of(cls, program: torch.export.ExportedProgram, symbols: Mapping[str, str]) -> _Plan:
        by_name = {node.name: node for node in program.graph.nodes}
        plan = cls([], {}, {}, [], [])
        for spec in program.graph_signature.input_specs:
            plan._add_input(program, spec, by_name[spec.arg.name], symbols)
        mutated_inputs: list[fx.Node] = []
        for output in program.graph_signature.output_specs:
            if output.kind in _RESULTS and isinstance(output.arg, _VALUES):
                plan.results.append(by_name[output.arg.name])
            elif output.kind in _RESULTS and isinstance(output.arg, ConstantArgument):
                continue
            elif output.kind is OutputKind.USER_INPUT_MUTATION:
                mutated_inputs.append(by_name[output.arg.name])
            elif output.kind in _MUTATIONS:
                plan._add_store(output.target, by_name[output.arg.name], symbols)
            else:
                raise TracingError(
                    "the program returns a value that a compiled function cannot return",
                    got=f"{output.kind.name} {output.arg}",
                    expected="tensors, numbers known at run time, and constants",
                )
        plan.results.extend(mutated_inputs)
        return plan

    def _add_input(
        self,
        program: torch.export.ExportedProgram,
        spec: InputSpec,
        node: fx.Node,
        symbols: Mapping[str, str],
    ) -> None:
        if spec.kind is InputKind.USER_INPUT and isinstance(spec.arg, _VALUES):
            self.parameters.append(node)
        elif isinstance(spec.arg, ConstantArgument):
            if node.users:
                self.constants[node] = spec.arg.value
        elif spec.target is not None and isinstance(spec.arg, TensorArgument):
            if not node.users:
                return
            if spec.target in symbols:
                self.loads[node] = symbols[spec.target]
            else:
                self.constants[node] = _state(program, spec.target)
        else:
            raise UnsupportedTypeError(
                "the program takes an input that a compiled function cannot take",
                got=f"{spec.kind.name} {spec.arg}",
                expected="tensors and numbers; script objects, tokens and generators have no form in an artifact",
            )

    def _add_store(self, target: str | None, node: fx.Node, symbols: Mapping[str, str]) -> None:
        if target is None or target not in symbols:
            raise TracingError(
                f"the function mutates the buffer {target!r}, which is a constant here",
                location=source_location(node),
                got=f"a new value for {target!r}",
                expected="buffers that are exported as mutable globals",
                fix="export it: buffers = export_buffers(module, mutable=True)",
            )
        self.stores.append((node, symbols[target]))


def _state(program: torch.export.ExportedProgram, target: str) -> torch.Tensor:
    value = program.state_dict.get(target)
    if value is None:
        value = program.constants.get(target)
    if not isinstance(value, torch.Tensor):
        raise UnsupportedTypeError(
            f"the program refers to {target!r}, which holds no tensor",
            got=type(value).__name__,
            expected="parameters, buffers and constants that are tensors",
        )
    return value
