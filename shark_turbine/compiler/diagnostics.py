# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the compiler wrote on stderr, as `Diagnostic`s with the user's source lines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from shark_turbine.errors import Diagnostic, SourceLocation

_HEADER = re.compile(
    r"^(?P<file>[^\s:][^:]*):(?P<line>\d+)(?::(?P<column>\d+))?: "
    r"(?P<severity>error|warning|note|remark): ?(?P<message>.*)$"
)
# How the Python bindings write the same: a location may be a chain of calls.
_PYTHON_HEADER = re.compile(
    r"^ ?(?P<severity>error|warning|note|remark): "
    r'(?P<places>callsite\(.*?\)(?=: )|"[^"]+":\d+:\d+|unknown): (?P<message>.*)$'
)
_PLACE = re.compile(r'"(?P<file>[^"]+)":(?P<line>\d+):')
_LEGALIZE = re.compile(r"failed to legalize operation '(?P<operation>[^']+)'")
_OPERATOR_NAME = re.compile(r'name = "torch\.(?P<name>[^"]+)"')
# From here on an MLIR message repeats the operation, with all its operands and regions.
_OPERATION_DUMP = re.compile(r': (?:%[\w#:, %]+ = )?"?[a-z_]+\.[\w.]+"?[ (].*$', re.DOTALL)
_DUMP_NOTE = "see current operation"
_LIBRARY_FOLDERS = tuple(
    str(Path(spec.origin).parent) + "/"
    for spec in map(find_spec, ("torch", "shark_turbine"))
    if spec is not None and spec.origin is not None
)


def parse(stderr: str) -> tuple[Diagnostic, ...]:
    """Return the distinct diagnostics in a compiler's stderr, in order.

    A `called from` note belongs to the message before it: of such a chain the innermost line that
    is the user's own becomes the location.
    """
    found: dict[Diagnostic, None] = {}
    for chain in _chains(stderr):
        severity, message, locations = chain
        if message == _DUMP_NOTE:
            continue
        found.setdefault(Diagnostic(severity, message, users_own(locations)))
    return tuple(found)


def _chains(stderr: str) -> Iterator[tuple[str, str, list[SourceLocation]]]:
    """Yield severity, message and the chain of locations of each message."""
    current: tuple[str, str, list[SourceLocation]] | None = None
    for line in stderr.splitlines():
        header = _read_header(line)
        if header is None:
            continue
        severity, message, known = header
        if severity == "note" and message.startswith("called from"):
            if current is not None:
                current[2].extend(known)
            continue
        if current is not None:
            yield current
        current = (severity, readable(message), known)
    if current is not None:
        yield current


def _read_header(line: str) -> tuple[str, str, list[SourceLocation]] | None:
    match = _HEADER.match(line)
    if match is not None:
        return match["severity"], match["message"], _known([(match["file"], match["line"])])
    match = _PYTHON_HEADER.match(line)
    if match is not None:
        return match["severity"], match["message"], _known(_PLACE.findall(match["places"]))
    return None


def _known(places: Sequence[tuple[str, str]]) -> list[SourceLocation]:
    """Return the locations that say something; a module that came as text is called <mlir>."""
    return [
        SourceLocation("<mlir>" if file == "-" else file, int(line))
        for file, line in places
        if line != "0" and not file.startswith("<unknown")
    ]


def readable(message: str) -> str:
    """Return a message without the dump of the operation that it ends with."""
    operator = unsupported_operator(message)
    if operator is not None:
        return f"the compiler has no lowering for {operator}"
    if message.startswith(_DUMP_NOTE):
        return _DUMP_NOTE
    return _OPERATION_DUMP.sub("", message).strip()


def unsupported_operator(message: str) -> str | None:
    """Return the torch operator that a message says cannot be lowered, as torch names it."""
    match = _LEGALIZE.search(message)
    if match is None or not match["operation"].startswith("torch."):
        return None
    named = _OPERATOR_NAME.search(message)
    if match["operation"] == "torch.operator" and named is not None:
        return named["name"]
    return match["operation"].removeprefix("torch.")


def users_own(locations: Sequence[SourceLocation]) -> SourceLocation | None:
    """Return the first location outside torch and this package; else the first; None if empty."""
    for location in locations:
        if not location.file.startswith(_LIBRARY_FOLDERS):
            return location
    return locations[0] if locations else None


def first_error(diagnostics: Iterable[Diagnostic]) -> Diagnostic | None:
    """Return the first error; None where there is none."""
    return next((item for item in diagnostics if item.severity == "error"), None)


def first_location(diagnostics: Iterable[Diagnostic]) -> SourceLocation | None:
    """Return the first known source line, of errors before others."""
    ranked = sorted(diagnostics, key=lambda item: item.severity != "error")
    return next((item.location for item in ranked if item.location is not None), None)
