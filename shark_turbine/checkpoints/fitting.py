# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Do these tensors fit these parameters? Everything that does not, at once."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from .external import ExternalParameter

# Looking for similar names takes a while among many.
_MOST_HINTS = 20


class Found(Protocol):
    """What is known of a tensor that is offered; None is not known."""

    @property
    def dtype(self) -> str | None: ...
    @property
    def shape(self) -> tuple[int, ...] | None: ...
    @property
    def nbytes(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Fit:
    """What came of it.

    Attributes:
        keys: for each parameter that has a tensor, by its key, the key that the tensor has.
        problems: what is wrong, a line each; empty if all is well.
        superfluous: keys that no parameter asks for. No problem in itself: a checkpoint may hold
            more than a module needs.
        doubles: for each parameter that is there under several of its names, all of them: they
            have to have the same bytes, see `torn_apart`.
    """

    keys: Mapping[str, str]
    problems: tuple[str, ...]
    superfluous: tuple[str, ...]
    doubles: tuple[tuple[str, ...], ...] = ()


def fit(required: Sequence[ExternalParameter], offered: Mapping[str, Found]) -> Fit:
    """Find a tensor for each parameter, under its key or an alias, and compare dtype and shape."""
    keys: dict[str, str] = {}
    missing: list[ExternalParameter] = []
    different: list[str] = []
    for parameter in required:
        key = next((key for key in parameter.keys if key in offered), None)
        if key is None:
            missing.append(parameter)
            continue
        keys[parameter.key] = key
        difference = _difference(parameter, offered[key])
        if difference is not None:
            different.append(f"different: {key!r} {difference}")
    known = {key for parameter in required for key in parameter.keys}
    superfluous = tuple(key for key in offered if key not in known)
    lines = _missing_lines(missing, superfluous, offered)
    there = (tuple(key for key in parameter.keys if key in offered) for parameter in required)
    doubles = tuple(names for names in there if len(names) > 1)
    return Fit(keys, (*lines, *different), superfluous, doubles)


def torn_apart(found: Fit, hashes: Mapping[str, str]) -> list[str]:
    """Return a line for each tied weight that has other bytes under another of its names."""
    return [
        f"different: {names[0]!r} and {other!r} are one tensor in the model, and two here"
        for names in found.doubles
        for other in names[1:]
        if names[0] in hashes and hashes.get(other) != hashes[names[0]]
    ]


def _difference(parameter: ExternalParameter, found: Found) -> str | None:
    if found.dtype is not None and found.shape is not None:
        if (found.dtype, tuple(found.shape)) == (parameter.dtype, parameter.shape):
            return None
        what = "dtype" if found.dtype != parameter.dtype else "shape"
        if found.dtype != parameter.dtype and tuple(found.shape) != parameter.shape:
            what = "dtype and shape"
        sizes = ", ".join(map(str, found.shape))
        return f"has another {what}: {found.dtype}[{sizes}], not {parameter}"
    if found.shape is not None and math.prod(found.shape) != math.prod(parameter.shape):
        return f"has another shape: {list(found.shape)}, not {parameter}"
    if found.nbytes != parameter.nbytes:
        return f"has another length: {found.nbytes} bytes, not {parameter.nbytes} ({parameter})"
    return None


def _missing_lines(
    missing: Sequence[ExternalParameter],
    superfluous: Collection[str],
    offered: Mapping[str, Found],
) -> list[str]:
    prefix = _common_prefix(missing, superfluous)
    lines: list[str] = []
    for number, parameter in enumerate(missing):
        hint = ""
        if prefix is None and number < _MOST_HINTS:
            candidates = superfluous or offered
            close = difflib.get_close_matches(parameter.key, candidates, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
        also = f" (or {', '.join(map(repr, parameter.aliases))})" if parameter.aliases else ""
        lines.append(f"missing: {parameter.key!r}{also}, {parameter}{hint}")
    if prefix is not None:
        lines.append(f"the keys that are missing are there, {prefix}")
    return lines


def _common_prefix(
    missing: Sequence[ExternalParameter], superfluous: Collection[str]
) -> str | None:
    """Return how all the missing keys differ from keys that are there, if it is by one prefix."""
    if not missing or not superfluous:
        return None
    names = [parameter.key for parameter in missing]
    for prefix in prefixes(names[0], superfluous):
        change, text = prefix[0], prefix[1:]
        if all(change_prefix(name, prefix) in superfluous for name in names):
            return f"with {text!r} before them" if change == "+" else f"without {text!r}"
    return None


def prefixes(name: str, keys: Collection[str]) -> list[str]:
    """Return the changes of prefix that make a key of a name: `+model.` adds, `-model.` removes."""
    added = [f"+{key.removesuffix(name)}" for key in keys if key.endswith(f".{name}")]
    removed = [f"-{name.removesuffix(key)}" for key in keys if name.endswith(f".{key}")]
    return sorted({*added, *removed}, key=lambda change: (len(change), change))


def change_prefix(name: str, change: str) -> str:
    """Apply one of `prefixes`; the empty change leaves the name as it is."""
    if change.startswith("+"):
        return change[1:] + name
    if not change:
        return name
    return name.removeprefix(change[1:])
