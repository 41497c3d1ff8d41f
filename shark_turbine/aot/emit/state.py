# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Functions that read and write the mutable globals: IREE's runtime cannot reach a global by its name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from shark_turbine import dtypes, ir
from shark_turbine.signature import StateEntry, ValueType

from ..program import GlobalVar, Program
from ..spec import GlobalTree, ModuleSpec
from ..types import AbstractScalar, AbstractValue

_NUMBER = re.compile(r"\$\d+$")


def describe_state(spec: ModuleSpec, program: Program) -> tuple[StateEntry, ...]:
    """Return every mutable global of a program, under the name that `state_dict()` gives it.

    A global of the class body is called as the user reaches it, `params.classifier.weight`; one that
    an nn.Module or an ExportedProgram brought by its qualified name, `bn.running_mean`. Where two
    would have one name, the later is called `name$1`.
    """
    declared = _declared_names(spec)
    named: dict[str, GlobalVar] = {}
    for item in program.globals:
        if item.mutable:
            # A symbol that was taken, by a function perhaps, got a number: `total$1`.
            name = wanted = declared.get(item.symbol, _NUMBER.sub("", item.symbol))
            number = 0
            while name in named:
                number += 1
                name = f"{wanted}${number}"
            named[name] = item
    return tuple(StateEntry(name, item.symbol, _flat(item.type)) for name, item in named.items())


def with_accessors(module: Any, state: Sequence[StateEntry]) -> tuple[Any, tuple[StateEntry, ...]]:
    """Return a copy of a module in which each global of the state has a getter and a setter.

    Beside it comes the state without what is no global of the module any more: lowering drops what
    nobody uses. Where nothing is left there is no copy. The module itself stays as it is, and weights are not copied: both refer to the same memory. What a
    getter returns and what a setter stores is copied by IREE, because the memory of a global is never
    a caller's.
    """
    if not state:
        return module, ()
    with module.context, ir.Location.unknown():
        copy = module.operation.clone(ip=False)
        types = {
            operation.attributes["sym_name"].value: operation.attributes["type"].value
            for operation in (block_op.operation for block_op in copy.body)
            if operation.name == "util.global"
        }
        kept = tuple(entry for entry in state if entry.symbol in types)
        with ir.InsertionPoint(copy.body):
            for entry in kept:
                _emit_getter(entry, types[entry.symbol])
                _emit_setter(entry, types[entry.symbol])
    return copy, kept


def _emit_getter(entry: StateEntry, kind: Any) -> None:
    function = ir.func.FuncOp(entry.getter, ir.FunctionType.get([], [kind]))
    with ir.InsertionPoint(function.add_entry_block()):
        value = ir.Operation.create(
            "util.global.load",
            results=[kind],
            attributes={"global": ir.FlatSymbolRefAttr.get(entry.symbol)},
        ).result
        ir.func.ReturnOp([value])


def _emit_setter(entry: StateEntry, kind: Any) -> None:
    function = ir.func.FuncOp(entry.setter, ir.FunctionType.get([kind], []))
    block = function.add_entry_block()
    with ir.InsertionPoint(block):
        ir.store_global(block.arguments[0], entry.symbol)
        ir.keep_alive(block.arguments)
        ir.func.ReturnOp([])


def _declared_names(spec: ModuleSpec) -> dict[str, str]:
    """Return the dotted name of each global that a class body declares, by symbol."""
    trees = [tree for tree in spec.members.values() if isinstance(tree, GlobalTree)]
    return {
        # The label of a single global is its attribute, and its symbol has a suffix; a leaf of a tree
        # is called as its symbol is.
        item.symbol: item.label if item.label.isidentifier() else item.symbol.removeprefix("_")
        for tree in trees
        for item in tree
    }


def _flat(kind: AbstractValue) -> ValueType:
    """Return a global's type as it is seen from outside; an index travels as i64."""
    if isinstance(kind, AbstractScalar):
        return ValueType("i64" if kind.name == "index" else kind.name, None)
    shape = tuple(int(dim or 0) for dim in kind.size)
    return ValueType(dtypes.from_torch(kind.dtype).name, shape)
