# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""One graph node at a time: what the bundled importer does not do, or does otherwise than we need."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from iree.compiler.extras.fx_importer import SYMBOLIC_TORCH_OPS, GraphNodeImporter
from torch import fx
from torch._ops import HigherOrderOperator, OpOverload

from shark_turbine import dtypes, ir
from shark_turbine.errors import TracingError, TurbineError

from . import scalars
from .fresh import WRITES, fill_value, fresh_fill
from .literals import LiteralTable
from .locations import source_location, with_module_path
from .quantized import FORMS, QuantizedFunctions, tensor_arguments

aten = torch.ops.aten

# What is proven when the graph exists, or said again by an `_assert_scalar` beside it.
_PROVEN = {
    aten._assert_tensor_metadata.default,
    aten.sym_constrain_range.default,
    aten.sym_constrain_range_for_size.default,
}


class NodeImporter(GraphNodeImporter):
    """Writes the nodes of one graph into one function."""

    __slots__ = ("_children", "_literals", "_marks", "_quantized")

    def attach(
        self,
        literals: LiteralTable,
        children: Mapping[int, tuple[fx.GraphModule, str]],
        marks: Iterator[int],
        quantized: QuantizedFunctions,
    ) -> None:
        """Share the module's constants, the functions of its child graphs, and a count of marks."""
        self._quantized = quantized
        self._literals = literals
        self._marks = marks
        self._children = children

    def import_graph(self, nodes: Iterable[fx.Node]) -> None:
        """Write every operation of a graph; parameters are bound already.

        Raises:
            TracingError: an operator has no form in the module; the message names it.
        """
        for node in nodes:
            if node.op != "call_function":
                continue
            place = self._cc.get_node_location(node) or ir.Location.unknown(self._c)
            location = with_module_path(place, node)
            try:
                with location, ir.InsertionPoint(self._b):
                    self._import_call(location, node)
            except TurbineError as error:
                if error.location is not None:
                    raise
                raise _located(error, node) from error
            except Exception as error:
                raise _refusal(node, error) from error

    def value_of(self, node: Any) -> Any:
        """Return the value of a node, or of a constant result of a child graph."""
        if not isinstance(node, fx.Node):
            return self._import_literal(node)
        if node.op == "get_attr":
            self._import_get_attr(ir.Location.unknown(self._c), node)
        return self.resolve_node_value(node)

    def bind_literal(self, node: fx.Node, value: Any) -> None:
        """Bind a placeholder to a constant."""
        self.bind_node_value(node, self._import_literal(value))

    def bind_global(self, node: fx.Node, symbol: str, *, is_kept: bool = False) -> None:
        """Bind a placeholder to the value that a global has on entry.

        What is written into it would change the global, if that `is_kept` as it is: a copy then.
        """
        loaded = ir.load_global(symbol, self._builtin_type(node))
        if is_kept:
            loaded = ir.copied_tensor(loaded)
        self.bind_node_value(
            node,
            ir.Operation.create(
                "torch_c.from_builtin_tensor",
                results=[self._cc.node_val_to_type(node)],
                operands=[loaded],
            ).result,
        )

    def store_global(self, node: fx.Node, symbol: str) -> None:
        """Store the value of a node into a global."""
        value = ir.Operation.create(
            "torch_c.to_builtin_tensor",
            results=[self._builtin_type(node)],
            operands=[self.value_of(node)],
        ).result
        ir.store_global(value, symbol)

    def _builtin_type(self, node: fx.Node) -> Any:
        value = node.meta["val"]
        shape = [size if isinstance(size, int) else None for size in value.shape]
        return ir.tensor_type(dtypes.from_torch(value.dtype), shape, self._c)

    # --------------------------------------------------------------------------------- one call --

    def _import_call(self, location: Any, node: fx.Node) -> None:
        target = node.target
        if target is operator.getitem:
            self._import_getitem(location, node)
        elif target in _PROVEN:
            return
        elif target is aten._assert_async.msg or target is aten._assert_scalar.default:
            self._import_assertion(node)
        elif target is aten._local_scalar_dense.default:
            self._import_item(node)
        elif target in SYMBOLIC_TORCH_OPS:
            self._import_symbolic_torch_op(location, node, target)
        elif target in FORMS:
            operands = [self.value_of(argument) for argument in tensor_arguments(node)]
            self.bind_node_value(node, self._quantized.call(node, operands))
        elif isinstance(target, OpOverload):
            if target in WRITES and fill_value(node.args[0]) is not None:
                self._import_write(location, node)
            else:
                self._import_torch_op_overload(location, node)
        elif isinstance(target, HigherOrderOperator):
            self._import_hop(location, node, target)
        elif callable(target) and target in scalars.OPERATIONS:
            arguments = [self._scalar(argument) for argument in _flat(node.args)]
            if target in scalars.BY_CONSTANT:
                arguments[1] = node.args[1]
            result = scalars.OPERATIONS[target](*arguments)
            wanted = self._cc.node_val_to_type(node)
            self.bind_node_value(node, scalars.convert(result, wanted))
        else:
            raise NotImplementedError("no form for this Python function of symbolic sizes")

    def _import_write(self, location: Any, node: fx.Node) -> None:
        """Write into a fresh tensor where the one to write into is all one number."""
        tensor: Any = node.args[0]
        number = fill_value(tensor)
        assert number is not None
        known = self.resolve_node_value(tensor)
        self._v[tensor, 0] = fresh_fill(known, tensor.meta["val"], number, next(self._marks))
        self._import_torch_op_overload(location, node)
        self._v[tensor, 0] = known

    def _scalar(self, argument: Any) -> Any:
        if isinstance(argument, fx.Node):
            return self.resolve_node_value(argument)
        return self._import_literal(argument)

    def _import_assertion(self, node: fx.Node) -> None:
        condition, message = node.args[0], node.args[1]
        if isinstance(condition, bool) and condition:
            return
        value = self._scalar(condition)
        if str(value.type).startswith("!torch.vtensor"):
            value = scalars.emit("torch.aten.Bool.Tensor", "!torch.bool", value)
        value = scalars.convert(value, self._cc.torch_bool_type)
        ir.Operation.create(
            "torch.runtime.assert",
            operands=[value],
            attributes={"message": ir.StringAttr.get(str(message))},
        )

    def _import_item(self, node: fx.Node) -> None:
        (tensor,) = node.args
        assert isinstance(tensor, fx.Node)
        dtype = tensor.meta["val"].dtype
        if dtype is torch.bool:
            name, result = "torch.aten.Bool.Tensor", "!torch.bool"
        elif dtype.is_floating_point:
            name, result = "torch.aten.Float.Tensor", "!torch.float"
        else:
            name, result = "torch.aten.Int.Tensor", "!torch.int"
        value = scalars.emit(name, result, self.resolve_node_value(tensor))
        self.bind_node_value(node, scalars.convert(value, self._cc.node_val_to_type(node)))

    def _import_literal(self, py_value: Any, info: Any = None) -> Any:
        if isinstance(py_value, torch.Tensor):
            return self._literals.literal(py_value)
        return super()._import_literal(py_value, info)

    # -------------------------------------------------------------------- higher-order operators --

    def _import_hop_cond(self, location: Any, node: fx.Node, hop: HigherOrderOperator) -> None:
        condition_node, on_true, on_false, *rest = node.args
        operands = [self._import_argument(location, value) for value in _flat(rest)]
        condition = self._as_bool(self._scalar(condition_node))
        result_types = self._result_types(node)
        branch = ir.Operation.create(
            "torch.prim.If", results=result_types, operands=[condition], regions=2
        )
        for region, graph_node in zip(branch.regions, (on_true, on_false), strict=True):
            with ir.InsertionPoint(ir.Block.create_at_start(region, [])):
                results = self._call_child(node, graph_node, operands, result_types)
                ir.Operation.create("torch.prim.If.yield", operands=results)
        self._bind_results(node, branch.results)

    def _import_hop_while_loop(
        self, location: Any, node: fx.Node, hop: HigherOrderOperator
    ) -> None:
        condition_graph, body_graph, carried, *rest = node.args
        initial = [self._import_argument(location, value) for value in _flat(carried)]
        unchanging = [self._import_argument(location, value) for value in _flat(rest)]
        result_types = self._result_types(node)
        initial = [
            _cast(value, wanted) for value, wanted in zip(initial, result_types, strict=True)
        ]

        def goes_on(values: list[Any]) -> Any:
            (result,) = self._call_child(node, condition_graph, [*values, *unchanging], None)
            return self._as_bool(result)

        limit = self._import_literal(torch.iinfo(torch.int64).max)
        loop = ir.Operation.create(
            "torch.prim.Loop",
            results=result_types,
            operands=[limit, goes_on(initial), *initial],
            regions=1,
        )
        block = ir.Block.create_at_start(loop.regions[0], [self._cc.torch_int_type, *result_types])
        with ir.InsertionPoint(block):
            values = [*block.arguments[1:], *unchanging]
            values = self._call_child(node, body_graph, values, result_types)
            ir.Operation.create("torch.prim.Loop.condition", operands=[goes_on(values), *values])
        self._bind_results(node, loop.results)

    def _call_child(
        self, node: fx.Node, graph_node: Any, operands: Sequence[Any], result_types: Any
    ) -> list[Any]:
        """Call the function of a child graph, meeting its types on both sides."""
        child = getattr(node.graph.owning_module, graph_node.target)
        name = self._children[id(child)][1]
        function = self._function(name)
        call = ir.Operation.create(
            "func.call",
            results=list(function.type.results),
            operands=[
                _cast(value, wanted)
                for value, wanted in zip(operands, function.type.inputs, strict=True)
            ],
            attributes={"callee": ir.FlatSymbolRefAttr.get(name)},
        )
        wanted_types = function.type.results if result_types is None else result_types
        return [
            _cast(value, wanted) for value, wanted in zip(call.results, wanted_types, strict=True)
        ]

    def _function(self, name: str) -> Any:
        for operation in self.fx_importer.module.body.operations:
            if isinstance(operation, ir.func.FuncOp) and operation.name.value == name:
                return operation
        raise KeyError(name)

    def _as_bool(self, value: Any) -> Any:
        if str(value.type).startswith("!torch.vtensor"):
            return scalars.emit("torch.aten.Bool.Tensor", "!torch.bool", value)
        return scalars.convert(value, self._cc.torch_bool_type)

    def _result_types(self, node: fx.Node) -> list[Any]:
        value = node.meta["val"]
        values = value if isinstance(value, (list, tuple)) else [value]
        return [self._cc.value_info_to_type(item) for item in values]

    def _bind_results(self, node: fx.Node, results: Sequence[Any]) -> None:
        # These always give a tuple, of which the graph takes items.
        self._multi_result_nodes.add(node)
        for index, value in enumerate(results):
            self.bind_node_value(node, value, index)


def _flat(values: Any) -> list[Any]:
    if isinstance(values, (list, tuple)):
        return [leaf for value in values for leaf in _flat(value)]
    return [values]


def _cast(value: Any, wanted: Any) -> Any:
    if value.type == wanted:
        return value
    if str(wanted).startswith("!torch.vtensor"):
        return scalars.emit("torch.tensor_static_info_cast", str(wanted), value)
    return scalars.convert(value, wanted)


def _located(error: TurbineError, node: fx.Node) -> TurbineError:
    """Add to an error which operator met it, and where."""
    make: Callable[..., TurbineError] = type(error)
    return make(
        f"{_operator_name(node)}: {error.what}",
        where=error.where,
        location=source_location(node),
        got=error.got,
        expected=error.expected,
        fix=error.fix,
    )


def _refusal(node: fx.Node, error: Exception) -> TracingError:
    reason = str(error).strip().splitlines()
    is_of_sizes = node.target in scalars.OPERATIONS
    return TracingError(
        f"the operator {_operator_name(node)} cannot be written into a compiled module",
        location=source_location(node),
        got=f"{type(error).__name__}: {reason[0]}" if reason else type(error).__name__,
        expected="operators that docs/op-support.md lists",
        fix="compute it with a tensor of the size: torch.full((), x.shape[0], dtype=torch.float32)"
        if is_of_sizes
        else "decompose it: extend_aot_decompositions(add_ops=[...]), or rewrite the line",
    )


def _operator_name(node: fx.Node) -> str:
    if isinstance(node.target, (OpOverload, HigherOrderOperator)):
        return str(node.target)
    return getattr(node.target, "__name__", str(node.target))
