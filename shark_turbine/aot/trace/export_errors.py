# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""torch.export's failures in the words of the user's arguments and dims."""

from __future__ import annotations

import os
import re
import sysconfig
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

from shark_turbine.errors import DimensionError, SourceLocation, TracingError, TurbineError

_SUGGESTION = re.compile(r"^\s+(_?d\d+) = (.+)$", re.MULTILINE)
# The standard library and what it is followed by on disk: installed packages, torch among them.
_NOT_THE_USERS = tuple(
    os.path.realpath(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")
) + tuple(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))
_RANGE = re.compile(r"Dim\('_?d\d+'(?:, min=(\w+))?(?:, max=(\w+))?\)")


@dataclass(frozen=True, slots=True)
class CallDescription:
    """Which call is being captured: who calls what, from where, and what its dims are called."""

    where: str
    function: str
    location: SourceLocation | None
    dim_names: Sequence[str] = ()


def explain_export_failure(failure: Exception, description: CallDescription) -> TurbineError:
    """Return the error to raise for a failure of torch.export."""
    if isinstance(failure, TurbineError):
        return failure
    text = str(failure)
    if "Constraints violated" in text:
        return _constraints_violated(text, description)
    if "data-dependent" in text or type(failure).__name__ == "DataDependentOutputException":
        return TracingError(
            f"{description.function} decides by values that are known only at run time",
            where=description.where,
            location=user_line(failure) or description.location,
            got=_source_line(failure) or _first_line(text),
            expected="the same operations for every input",
            fix="use torch.where, torch.cond or a fixed size instead of Python control flow",
        )
    return TracingError(
        f"{description.function} cannot be traced: {_first_line(text)}",
        where=description.where,
        location=user_line(failure) or description.location,
        got=_source_line(failure),
    )


def _constraints_violated(text: str, description: CallDescription) -> DimensionError:
    """Translate the suggested fixes, which speak of dims `d0`, `d1`, ..."""
    fixes = [
        _translate(name, value, description)
        for name, value in _SUGGESTION.findall(text)
        if not name.startswith("_")
    ]
    reasons = "; ".join(reason for reason, _ in fixes) or _first_line(text)
    written = [fix for _, fix in fixes if fix]
    return DimensionError(
        f"{description.function} needs more of its dynamic dims than was constrained: {reasons}",
        where=description.where,
        location=description.location,
        got=", ".join(f"{name} is any size in its range" for name in description.dim_names),
        expected=reasons,
        fix=f"constraints=[{', '.join(written)}]" if written else "give the dim a fixed size",
    )


def _translate(name: str, value: str, description: CallDescription) -> tuple[str, str | None]:
    dim = _name_of(name, description)
    if value.isdigit():
        return f"{dim} must be {value}", f"{dim} == {value}"
    if re.fullmatch(r"d\d+", value):
        other = _name_of(value, description)
        first, second = sorted((dim, other))
        return f"{first} and {second} must be equal", f"{first} == {second}"
    bounds = _RANGE.search(value)
    if bounds is not None:
        low, high = bounds.groups()
        parts = [f"{dim} >= {low}"] if low else []
        parts += [f"{dim} <= {high}"] if high and high != "oo" else []
        return " and ".join(parts), ", ".join(parts)
    return f"{dim} must be {re.sub(r'_d[0-9]+', 'k', value)} for some k", None


def _name_of(name: str, description: CallDescription) -> str:
    index = int(name.removeprefix("d"))
    return description.dim_names[index] if index < len(description.dim_names) else name


def _first_line(text: str) -> str:
    for line in text.splitlines():
        if line.strip():
            return line.strip().removesuffix(".")
    return "no reason was given"


def user_line(failure: BaseException) -> SourceLocation | None:
    """Return the innermost line of the failure that is neither torch's nor ours."""
    for frame in reversed(traceback.extract_tb(failure.__traceback__)):
        path = frame.filename.replace("\\", "/")
        if path.startswith((*_NOT_THE_USERS, "<")) or "/shark_turbine/" in path:
            continue
        if frame.lineno is not None:
            return SourceLocation(frame.filename, frame.lineno)
    return None


def _source_line(failure: BaseException) -> str | None:
    location = user_line(failure)
    return (location.source_line() or None) if location is not None else None
