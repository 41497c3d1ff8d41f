# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The mutable globals of a loaded module, through the functions that its vmfb has for each of them."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from iree.runtime import VmVariantList

from .. import dtypes
from ..errors import ArgumentError, LoadError, StateError
from ..signature import STATE_GETTER, STATE_SETTER, Argument, StateEntry
from . import devices, failures
from .artifact import Artifact
from .checks import Check, checker, describe
from .function import REFUSALS
from .tensors import Pack, Unpack, packer, unpacker


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict` found to differ, as `torch.nn.Module.load_state_dict` says it.

    Attributes:
        missing_keys: of the module's state, which were not given.
        unexpected_keys: given, and not of the module's state.
    """

    missing_keys: list[str]
    unexpected_keys: list[str]


@dataclass(frozen=True, slots=True)
class Global:
    """One mutable global: what it is called and holds, and how values of it travel."""

    entry: StateEntry
    check: Check
    pack: Pack
    unpack: Unpack


@dataclass(frozen=True, slots=True)
class State:
    """The mutable globals of a module by name, and the functions that read and write all of them."""

    items: Mapping[str, Global]
    getter: Any
    setter: Any


def find_state(artifact: Artifact, native: Any, hal: Any) -> State | None:
    """Return the state of a module; None where the vmfb does not say what it is.

    Raises:
        LoadError: the vmfb lacks what its manifest names.
    """
    if artifact.state is None:
        # Without state there is nothing to say.
        is_stateless = (artifact.manifest or {}).get("stateful") is False
        return State({}, None, None) if is_stateless else None
    getter, setter = map(native.lookup_function, (STATE_GETTER, STATE_SETTER))
    if artifact.state and (getter is None or setter is None):
        raise LoadError(
            "the manifest names globals that the vmfb has no functions for",
            where=artifact.origin,
            got=", ".join(entry.name for entry in artifact.state),
            fix="compile it again",
        )
    return State({entry.name: _global(entry, hal) for entry in artifact.state}, getter, setter)


def _global(entry: StateEntry, hal: Any) -> Global:
    return Global(
        entry,
        checker(Argument(entry.name, entry.type), "state"),
        # The setter copies: the memory of a caller is only read.
        packer(entry.type, hal, share=True),
        unpacker(entry.type, hal),
    )


def read(context: Any, state: State, where: str) -> dict[str, Any]:
    """Return all values, tensors in memory of their own. Who calls holds the module's lock."""
    if not state.items:
        return {}
    outputs = VmVariantList(len(state.items))
    _invoke(context, state.getter, VmVariantList(0), outputs, where)
    return {
        name: item.unpack(outputs, index) for index, (name, item) in enumerate(state.items.items())
    }


def write(context: Any, state: State, values: Mapping[str, Any], where: str) -> None:
    """Store checked values, of all globals or of some. Who calls holds the module's lock."""
    if not values:
        return
    if len(values) < len(state.items):
        values = {**read(context, state, where), **values}
    inputs = VmVariantList(len(state.items))
    for name, item in state.items.items():
        item.pack(values[name], inputs, [])
    _invoke(context, state.setter, inputs, VmVariantList(0), where)


devices.waits_for(read)
devices.waits_for(write)


def to_tensors(state: State, values: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Return values as tensors; a number has no dims."""
    return {
        name: value
        if isinstance(value, torch.Tensor)
        else torch.tensor(value, dtype=dtypes.from_name(state.items[name].entry.type.dtype).torch)
        for name, value in values.items()
    }


def _invoke(context: Any, function: Any, inputs: Any, outputs: Any, where: str) -> None:
    try:
        context.invoke(function, inputs, outputs)
    except REFUSALS as error:
        raise failures.from_call(error, where) from error


def check_state(
    state: State, given: Mapping[str, Any], *, strict: bool, where: str
) -> tuple[dict[str, Any], IncompatibleKeys]:
    """Return the values to store, and the keys that only one side has.

    Raises:
        StateError: it is no dict, a value has another dtype or shape than its global, or with `strict` the keys are
            not the same; everything that is wrong is said at once.
    """
    if not isinstance(given, Mapping):
        raise StateError(
            "a state is a dict from names to values",
            where=where,
            got=describe(given),
            expected=f"what state_dict() gives: {_some(state.items)}",
            fix=f"load_state({given!r})" if isinstance(given, (str, os.PathLike)) else None,
        )
    known = state.items
    differ = IncompatibleKeys(
        [name for name in known if name not in given], [key for key in given if key not in known]
    )
    values: dict[str, Any] = {}
    wrong: list[str] = []
    for name in known:
        if name not in given:
            continue
        try:
            values[name] = known[name].check(given[name], {})
        except ArgumentError as error:
            wrong.append(f"{error.what}: got {error.got}, expected {error.expected}")
    if wrong or (strict and any(differ)):
        raise _does_not_fit(known, differ if strict else IncompatibleKeys([], []), wrong, where)
    return values, differ


def _does_not_fit(
    known: Mapping[str, Global], differ: IncompatibleKeys, wrong: Iterable[str], where: str
) -> StateError:
    lines = [f"missing: {name!r} ({known[name].entry.type})" for name in differ.missing_keys]
    for key in differ.unexpected_keys:
        close = difflib.get_close_matches(str(key), differ.missing_keys or list(known), n=1)
        lines.append(f"unexpected: {key!r}" + (f"; did you mean {close[0]!r}?" if close else ""))
    different = [f"different: {line}" for line in wrong]
    return StateError(
        "the state does not fit the module; nothing was loaded",
        where=where,
        got="\n".join([*lines, *different]),
        expected=f"the keys, dtypes and shapes of state_dict(): {_some(known)}",
        fix=None if different else "strict=False loads what both have",
    )


def _some(known: Mapping[str, Global]) -> str:
    shown = [f"{name!r} ({item.entry.type})" for name, item in known.items()]
    return ", ".join([*shown[:3], "..."] if len(shown) > 3 else shown) or "no state"
