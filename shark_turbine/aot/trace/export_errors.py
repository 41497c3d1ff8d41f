# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""torch.export's failures in the words of the user's arguments and dims."""

from __future__ import annotations

import os
import re
import sysconfig
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from shark_turbine.errors import DimensionError, SourceLocation, TracingError, TurbineError

from ..dims import DimRange

_SUGGESTION = re.compile(r"^\s+([A-Za-z]\w*) = (.+)$", re.MULTILINE)
_SPECIALIZED = re.compile(r"You marked (\S+) as dynamic but .*? a constant \((\d+)\)")
_SOURCE = re.compile(r"L\['(\w+)'\]((?:\[[^]]+\])*)\.size\(\)\[(\d+)\]")
_RANGE = re.compile(r"Dim\('\w+'(?:, min=(\w+))?(?:, max=(\w+))?\)")
_QUOTED_LINE = re.compile(r'^ +File "([^"]+)", line (\d+), in', re.MULTILINE)
_SYMBOL = re.compile(r"\bs\d+\b")
_BAD_ARGUMENT = re.compile(r"(?:inputs with type `|Unsupported input type )(<class '.+?'>)")
_BAD_RESULT = re.compile(r"Found (<class '.+?'>) in output")

_FIXED_BY_EXAMPLE = re.compile(
    r"0/1 specialized due to hint of ([01]) for dimension inputs\['(\w+)'\]\.shape\[(\d+)\]"
)
_ARGUMENT_NAMES = re.compile(r"keys must be the arg names \['(\w+)'")

_OWN_CACHE = (
    "model.config.use_cache = False, or call register_dynamic_cache_export_support() "
    "of transformers.integrations.executorch first"
)

_TORCH = os.path.dirname(torch.__file__)
_PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
_STANDARD_LIBRARY = sysconfig.get_path("stdlib")


@dataclass(frozen=True, slots=True)
class CallDescription:
    """Which call is being captured: who calls what, from where, and what its dims are called.

    Without `dim_names` the dims have the names that the user gave them in `dynamic_shapes`.
    """

    where: str
    function: str
    location: SourceLocation | None
    dim_names: Sequence[str] = ()
    dim_ranges: Sequence[DimRange] = ()


def explain_export_failure(failure: Exception, description: CallDescription) -> TurbineError:
    """Return the error to raise for a failure of torch.export."""
    if isinstance(failure, TurbineError):
        failure.name_place(description.where, description.location)
        return failure
    text = str(failure)
    if "Constraints violated" in text:
        return _constraints_violated(text, description)
    fixed_by_example = _FIXED_BY_EXAMPLE.search(text)
    if fixed_by_example is not None:
        size, name, axis = fixed_by_example.groups()
        return _example_is_too_small(f"{name}.shape[{axis}]", size, description)
    if "dynamic_shapes" in text:
        known = _ARGUMENT_NAMES.search(text)
        return DimensionError(
            f"dynamic_shapes does not fit the arguments: {_first_sentence(text)}",
            where=description.where,
            expected="for each argument by name, the dims that are dynamic",
            fix=f'dynamic_shapes={{"{known[1] if known else "x"}": {{0: torch.export.Dim("batch")}}}}',
        )
    if "data-dependent" in text.lower() or "DataDependent" in type(failure).__name__:
        return TracingError(
            f"{description.function} decides by values that are known only at run time",
            where=description.where,
            location=user_line(failure) or users_own(description.location),
            got=_source_line(failure) or _first_sentence(text),
            expected="the same operations for every input",
            fix="use torch.where, torch.cond or a fixed size instead of Python control flow",
        )
    return _wrong_value(text, description) or _failed(failure, text, description)


def _failed(failure: Exception, text: str, description: CallDescription) -> TurbineError:
    """Explain a failure of the user's own code, or of an operator on the given shapes."""
    location = user_line(failure) or users_own(description.location)
    reason = _first_sentence(text)
    if reason.count(")") > reason.count("("):
        reason = reason.removesuffix(")")
    kind = f"{type(failure).__name__}: " if type(failure).__module__ == "builtins" else ""
    if _SYMBOL.search(reason):
        names = description.dim_names
        name = names[0] if len(names) == 1 else "a dynamic size"
        return DimensionError(
            f"{description.function} does not work for every size of its dynamic dims: "
            f"{_SYMBOL.sub(name, reason)}",
            where=description.where,
            location=location,
            got=_source_line(failure),
            expected="operations that work for every size that the dims can have",
            fix="give the dim the size that the operation needs, fixed or with a constraint",
        )
    return TracingError(
        f"{description.function} cannot be traced: {kind}{reason}",
        where=description.where,
        location=location,
        got=_source_line(failure),
        expected="a function that runs on tensors of the given shapes and dtypes",
        fix=f"call {description.function} with such tensors outside: it should fail alike",
    )


def _wrong_value(text: str, description: CallDescription) -> TracingError | None:
    """Explain an argument or a result of a type that torch.export does not take."""
    location = users_own(description.location)
    argument, result = _BAD_ARGUMENT.search(text), _BAD_RESULT.search(text)
    if argument is not None:
        return TracingError(
            f"{description.function} is given a value that cannot be an argument",
            where=description.where,
            location=location,
            got=argument.group(1),
            expected="tensors, numbers, None, and dicts, lists and tuples of them",
            fix="pass its parts, or make it a dataclass and torch.export.register_dataclass it",
        )
    if result is not None:
        return TracingError(
            f"{description.function} returns a value that a compiled function cannot return",
            where=description.where,
            location=location,
            got=result.group(1),
            expected="tensors, numbers, None, and dicts, lists and tuples of them",
            fix=_OWN_CACHE
            if "transformers.cache_utils" in result.group(1)
            else "return a tuple or a dict of tensors",
        )
    return None


def _constraints_violated(text: str, description: CallDescription) -> DimensionError:
    """Translate the suggested fixes, which speak of dims `d0`, `d1`, ... or of the user's names."""
    _, _, suggestions = text.partition("Suggested fixes:")
    found = _SUGGESTION.findall(suggestions)
    found += [pair for pair in _SPECIALIZED.findall(text) if not found]
    if len(found) == 1 and found[0][1] in ("0", "1") and not description.dim_names:
        name, size = found[0]
        return _example_is_too_small(_name_of(name, description), size, description)
    fixes = [_translate(name, value, description) for name, value in found]
    written = [fix for _, fix in fixes if fix]
    if not written:
        fix = "give the dim a fixed size"
    else:
        fix = f"constraints=[{', '.join(written)}]" if description.dim_names else written[0]
    return DimensionError(
        f"{description.function} does not work for every size of its dynamic dims",
        where=description.where,
        location=users_own(description.location),
        got=_dims_as_given(description, [name for name, _ in found]),
        expected="; ".join(reason for reason, _ in fixes) or _first_sentence(text),
        fix=fix,
    )


def _example_is_too_small(dim: str, size: str, description: CallDescription) -> DimensionError:
    """Explain what torch.export makes of an example of size 0 or 1: those it always takes as fixed."""
    return DimensionError(
        f"the example has {size} where {dim} is dynamic, and torch.export takes 0 and 1 as fixed",
        where=description.where,
        location=users_own(description.location),
        got=f"{dim} is dynamic, and {size} in the example",
        expected="an example of 2 or more in each dynamic dim",
        fix=f"give an example with 2 there; where {dim} can only be {size}, leave it out of dynamic_shapes",
    )


def _dims_as_given(description: CallDescription, names: Sequence[str]) -> str:
    if not description.dim_names:
        return ", ".join(f"{_name_of(name, description)} is dynamic" for name in names)
    return ", ".join(
        f"{name}: any size" if bounds == DimRange() else f"{name} {bounds}"
        for name, bounds in zip(description.dim_names, description.dim_ranges, strict=True)
    )


def _translate(name: str, value: str, description: CallDescription) -> tuple[str, str | None]:
    dim = _name_of(name, description)
    in_export = not description.dim_names
    if value.isdigit():
        fixed = f"leave {dim} out of dynamic_shapes" if in_export else f"{dim} == {value}"
        return f"{dim} must be {value}", fixed
    if value.isidentifier():
        first, second = (dim, _name_of(value, description))
        if in_export:
            return f"{first} and {second} must be equal", f"{first} = {second}"
        first, second = sorted((first, second))
        return f"{first} and {second} must be equal", f"{first} == {second}"
    bounds = _RANGE.search(value)
    if bounds is not None:
        low, high = bounds.groups()
        parts = [f"{dim} >= {low}"] if low else []
        parts += [f"{dim} <= {high}"] if high and high != "oo" else []
        fix = f"{dim} = torch.export.{value}" if in_export else ", ".join(parts)
        return " and ".join(parts), fix
    multiple = re.sub(r"\b_\w+", "k", value)
    written = re.sub(r"\b_(\w+)", _new_dim, value)
    fix = f"{dim} = {written}" if in_export else None
    return f"{dim} must be {multiple} for some k", fix


def _new_dim(name: re.Match[str]) -> str:
    return f'torch.export.Dim("{name.group(1)}_part")'


def _name_of(name: str, description: CallDescription) -> str:
    source = _SOURCE.fullmatch(name)
    if source is not None:
        return f"{source.group(1)}{source.group(2)}.shape[{source.group(3)}]"
    if not description.dim_names or not re.fullmatch(r"d\d+", name):
        return name
    index = int(name.removeprefix("d"))
    return description.dim_names[index] if index < len(description.dim_names) else name


def _first_sentence(text: str) -> str:
    for line in text.splitlines():
        if line.strip():
            return line.strip().split(". ")[0].removesuffix(".")
    return "no reason was given"


def is_machinery(path: str) -> bool:
    """Say whether a file is torch's, ours or the standard library's."""
    if path.startswith(("<", _TORCH, _PACKAGE + os.sep)):
        return True
    installed = "site-packages" in path or "dist-packages" in path
    return path.startswith(_STANDARD_LIBRARY) and not installed


def users_own(location: SourceLocation | None) -> SourceLocation | None:
    """Return a location; None where it is a line of torch."""
    return None if location is None or is_machinery(location.file) else location


def user_line(failure: BaseException) -> SourceLocation | None:
    """Return the innermost line of a failure that is neither torch's nor ours."""
    for frame in reversed(traceback.extract_tb(failure.__traceback__)):
        if not is_machinery(frame.filename) and frame.lineno is not None:
            return SourceLocation(frame.filename, frame.lineno)
    quoted = [pair for pair in _QUOTED_LINE.findall(str(failure)) if not is_machinery(pair[0])]
    return SourceLocation(quoted[-1][0], int(quoted[-1][1])) if quoted else None


def _source_line(failure: BaseException) -> str | None:
    location = user_line(failure)
    return (location.source_line() or None) if location is not None else None
