# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The mutable globals of a loaded module, through the functions that its vmfb has for each of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from iree.runtime import VmVariantList

from .. import dtypes
from ..errors import ArgumentError, LoadError, StateError
from ..signature import Argument, StateEntry
from . import devices, failures
from .artifact import Artifact
from .checks import Check, checker
from .function import REFUSALS
from .tensors import Pack, Unpack, packer, unpacker


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict` found to differ, as `torch.nn.Module.load_state_dict` says it."""

    missing_keys: list[str]
    unexpected_keys: list[str]


@dataclass(frozen=True, slots=True)
class Global:
    """One mutable global: what it is called and holds, and how it is reached."""

    entry: StateEntry
    getter: Any
    setter: Any
    check: Check
    pack: Pack
    unpack: Unpack


Globals = Mapping[str, Global]


def find_globals(artifact: Artifact, native: Any, hal: Any) -> dict[str, Global] | None:
    """Return the mutable globals of a module by name; None where the vmfb does not say.

    Raises:
        LoadError: the vmfb lacks what its manifest names.
    """
    if artifact.state is None:
        # Then there is none to speak of.
        return {} if (artifact.manifest or {}).get("stateful") is False else None
    return {entry.name: _global(artifact, native, hal, entry) for entry in artifact.state}


def _global(artifact: Artifact, native: Any, hal: Any, entry: StateEntry) -> Global:
    getter, setter = map(native.lookup_function, (entry.getter, entry.setter))
    if getter is None or setter is None:
        raise LoadError(
            f"the manifest names a global {entry.name!r} that the vmfb does not hold",
            where=artifact.origin,
            fix="compile it again",
        )
    return Global(
        entry,
        getter,
        setter,
        checker(Argument(entry.name, entry.type), "state"),
        # The setter copies: the memory of a caller is only read.
        packer(entry.type, hal, share=True),
        unpacker(entry.type, hal),
    )


def read(context: Any, known: Globals, where: str) -> dict[str, torch.Tensor]:
    """Return the values of all globals, in memory of their own. Who calls holds the module's lock."""
    values: dict[str, torch.Tensor] = {}
    for name, item in known.items():
        outputs = VmVariantList(1)
        _invoke(context, item.getter, VmVariantList(0), outputs, where)
        value = item.unpack(outputs, 0)
        if item.entry.type.shape is None:
            value = torch.tensor(value, dtype=dtypes.from_name(item.entry.type.dtype).torch)
        values[name] = value
    return values


def write(context: Any, known: Globals, values: Mapping[str, Any], where: str) -> None:
    """Store checked values. Who calls holds the module's lock."""
    for name, value in values.items():
        inputs = VmVariantList(1)
        known[name].pack(value, inputs, [])
        _invoke(context, known[name].setter, inputs, VmVariantList(0), where)


devices.waits_for(read)
devices.waits_for(write)


def _invoke(context: Any, function: Any, inputs: Any, outputs: Any, where: str) -> None:
    try:
        context.invoke(function, inputs, outputs)
    except REFUSALS as error:
        raise failures.from_call(error, where) from error


def check_state(
    known: Globals, state: Mapping[str, Any], *, strict: bool, where: str
) -> tuple[dict[str, Any], IncompatibleKeys]:
    """Return the values to store, and the keys that only one side has.

    Raises:
        StateError: a value has another dtype or shape than its global, or with `strict` the keys are
            not the same; everything that is wrong is said at once.
    """
    differ = IncompatibleKeys(
        [name for name in known if name not in state], [key for key in state if key not in known]
    )
    values: dict[str, Any] = {}
    wrong: list[str] = []
    for name in known:
        if name not in state:
            continue
        try:
            values[name] = known[name].check(state[name], {})
        except ArgumentError as error:
            wrong.append(f"{error.what}: got {error.got}, expected {error.expected}")
    if wrong or (strict and any(differ)):
        raise _does_not_fit(known, differ if strict else IncompatibleKeys([], []), wrong, where)
    return values, differ


def _does_not_fit(
    known: Globals, differ: IncompatibleKeys, wrong: Iterable[str], where: str
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


def _some(known: Globals) -> str:
    shown = [f"{name!r} ({item.entry.type})" for name, item in known.items()]
    return ", ".join([*shown[:3], "..."] if len(shown) > 3 else shown) or "no state"
