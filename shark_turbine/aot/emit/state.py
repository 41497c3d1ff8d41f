# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Functions that read and write the mutable globals: IREE's runtime cannot reach a global by its name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from shark_turbine import dtypes, ir
from shark_turbine.signature import STATE_GETTER, STATE_SETTER, StateEntry, ValueType

from ..program import GlobalVar, Program
from ..spec import GlobalTree, ModuleSpec
from ..types import AbstractScalar, AbstractValue
from .waiting import wait_for

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
    """Return a copy of a module with a function that returns the whole state, and one that stores it.

    Beside it comes the state without what is no global of the module any more: lowering drops what
    nobody uses. Where nothing is left there is no copy. The module itself stays as it is, and weights
    are not copied: both refer to the same memory.

    What is returned and what is stored is copied by IREE, because the memory of a global is never a
    caller's. There is one pair of functions, because a pair for each global takes ten times as long
    to compile.
    """
    with module.context, ir.Location.unknown():
        types = {
            operation.attributes["sym_name"].value: operation.attributes["type"].value
            for operation in (item.operation for item in module.body)
            if operation.name == "util.global"
        }
        kept = tuple(entry for entry in state if entry.symbol in types)
        if not kept:
            return module, ()
        copy = module.operation.clone(ip=False)
        with ir.InsertionPoint(copy.body):
            _emit_getter({entry.symbol: types[entry.symbol] for entry in kept})
            _emit_setter({entry.symbol: types[entry.symbol] for entry in kept})
    return copy, kept


def _emit_getter(types: Mapping[str, Any]) -> None:
    function = ir.func.FuncOp(STATE_GETTER, ir.FunctionType.get([], list(types.values())))
    with ir.InsertionPoint(function.add_entry_block()):
        ir.func.ReturnOp(_loads(types))


def _loads(types: Mapping[str, Any]) -> list[Any]:
    return [ir.load_global(symbol, kind) for symbol, kind in types.items()]


def _emit_setter(types: Mapping[str, Any]) -> None:
    function = ir.func.FuncOp(STATE_SETTER, ir.FunctionType.get(list(types.values()), []))
    block = function.add_entry_block()
    with ir.InsertionPoint(block):
        for symbol, value in zip(types, block.arguments, strict=True):
            ir.store_global(value, symbol)
        wait_for(_loads({k: v for k, v in types.items() if isinstance(v, ir.RankedTensorType)}))
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
