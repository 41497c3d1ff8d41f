# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""From what the compiler prints on its way to a `DispatchMap`.

`iree-compile` writes the module down after a pass where it is asked to. At the end of the phase
`stream` the dispatches stand in their final order, under the names that the runtime reports, with the
locations of what was fused into them; what they compute is still on tensors of the program's shapes.
The artifact's bytes are the same as without.
"""

from __future__ import annotations

import json
import logging
import os
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from shark_turbine import ir
from shark_turbine.dispatches import (
    ENTRY,
    MOVED_ENTRY,
    DispatchMap,
    Kernel,
    Origin,
    Site,
    origins_to_json,
)

from .arithmetic import count
from .marks import marks, origins
from .probing import walk

log = logging.getLogger(__name__)

# Of the last passes of the phase.
_PASS = "iree-stream-annotate-dispatch-assumptions"
_FOLDER = "--mlir-print-ir-tree-dir="
_PRINTING = (
    f"--mlir-print-ir-after={_PASS}",
    "--mlir-print-debuginfo",
    "--mlir-elide-elementsattrs-if-larger=16",
    "--mlir-elide-resource-strings-if-larger=16",
)
# Options of the user's that say the same, or stop earlier.
_OTHERS = ("--mlir-print", "--mlir-elide", "--compile-to", "--compile-mode")
_MOST_CONSTANTS = 64
_CONSTANTS = {"index": 2, "i64": 2, "f64": 2}
_OPERANDS = re.compile(r"stream\.cmd\.dispatch [^\n]*\([^()\n]* : ([a-z0-9, ]+)\) \{")
# Of the operations that were fused into a kernel, so many are named.
_MOST_NAMED = 8


def dump_flags(folder: str, flags: Sequence[str]) -> list[str]:
    """Return the options that make the compiler write the module to a folder; none beside like ones."""
    if any(flag.startswith(_OTHERS) for flag in flags):
        return []
    return [f"{_FOLDER}{folder}", *_PRINTING]


def dumped(folder: str) -> str | None:
    """Return the module that the compiler wrote to a folder; None if it did not."""
    files = Path(folder).rglob("*.mlir")
    # Constants are computed before, by programs that are compiled too: the module's own is the last.
    last = max(files, key=lambda path: path.stat().st_mtime_ns, default=None)
    return None if last is None else last.read_text()


def takes_too_many_sizes(text: str | None) -> bool:
    """Say whether a dispatch of the module that the compiler wrote takes more than a CPU's runtime gives.

    It refuses to load those (`IREE_HAL_EXECUTABLE_MAX_CONSTANT_COUNT`). Sizes that the compiler does not
    know travel as such constants of 32 bits, each in two.
    """
    return any(
        sum(_CONSTANTS.get(kind, 1) for kind in kinds.split(", ")) > _MOST_CONSTANTS
        for kinds in _OPERANDS.findall(text or "")
    )


def dispatch_map(text: str | None, module: Any, weights: int) -> DispatchMap | None:
    """Return the map of a module that was compiled with marks; None where it cannot be had.

    Args:
        text: what the compiler wrote, as `dumped` gives it.
        module: what was compiled, without marks.
        weights: the bytes of its constants.
    """
    if text is None:
        return None
    try:
        context = module.context
        with context:
            return _read(ir.Module.parse(text, context), module, weights)
    # A profile says less then; the artifact is as good as ever.
    except Exception as error:
        log.warning("what the dispatches are is not known: %s", error)
        return None


def _read(printed: Any, module: Any, weights: int) -> DispatchMap:
    kernels: dict[str, Kernel] = {}
    inner: dict[str, list[int]] = {}
    sites: dict[str, list[tuple[str, list[int]]]] = {}
    for operation in printed.body.operations:
        operation = operation.operation
        if operation.name == "stream.executable":
            for name, function in _functions(operation):
                kernels[name], heaviest = count(name, function)
                inner[name] = _inner_marks(function, heaviest)
        elif operation.name in {"util.func", "util.initializer"}:
            found = _sites(operation)
            if found:
                sites.setdefault(_name(operation), []).extend(found)
    return _assemble(module, kernels, inner, sites, weights)


def _assemble(
    module: Any,
    kernels: Mapping[str, Kernel],
    inner: Mapping[str, list[int]],
    sites: Mapping[str, list[tuple[str, list[int]]]],
    weights: int,
) -> DispatchMap:
    used = [kernel for found in sites.values() for kernel, _ in found]
    # A kernel of several sites is named after the first; what is in it says nothing of the others.
    own = {kernel for kernel in kernels if used.count(kernel) == 1}
    made = {
        name: tuple(
            Site(kernel, tuple(_ordered(numbers, inner.get(kernel, []) if kernel in own else [])))
            for kernel, numbers in found
        )
        for name, found in sites.items()
    }
    numbers = {number for found in made.values() for site in found for number in site.operations}
    return DispatchMap(kernels, made, origins(module, numbers), weights)


def _ordered(site: Sequence[int], inner: Sequence[int]) -> list[int]:
    first = inner[:1] if inner else []
    return list(dict.fromkeys([*first, *site, *inner]))[:_MOST_NAMED]


def _functions(executable: Any) -> list[tuple[str, Any]]:
    """Return the functions of an executable by the names of their exports."""
    found: list[tuple[str, Any]] = []
    for operation in walk(executable):
        if operation.name == "func.func":
            found.append((operation.attributes["sym_name"].value, operation))
    return found


def _inner_marks(function: Any, heaviest: Any) -> list[int]:
    numbers = marks(heaviest.location) if heaviest is not None else []
    for operation in walk(function):
        if operation.name.startswith(("linalg.", "iree_linalg_ext.")):
            numbers += marks(operation.location)
    return list(dict.fromkeys(numbers))


def _sites(function: Any) -> list[tuple[str, list[int]]]:
    return [
        (_leaf(operation.attributes["entry_points"][0]), marks(operation.location))
        for operation in walk(function)
        if operation.name == "stream.cmd.dispatch"
    ]


def _leaf(reference: Any) -> str:
    return reference.value[-1]


def _name(function: Any) -> str:
    if "sym_name" not in function.attributes:
        return ""
    return function.attributes["sym_name"].value.removesuffix("$async")


# ---------------------------------------------------------------------------------- in the artifact --


def append_map(file: IO[bytes], found: DispatchMap) -> None:
    """Add a map to a vmfb, which is a ZIP file too."""
    _append(file, ENTRY, found.to_json())


def append_origins(file: IO[bytes], found: Mapping[int, Origin]) -> None:
    """Add other origins to a vmfb that has a map: an equal program came from there."""
    _append(file, MOVED_ENTRY, origins_to_json(found))


def _append(file: IO[bytes], name: str, content: Any) -> None:
    entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    entry.create_system = 3
    entry.external_attr = 0o644 << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(entry, json.dumps(content, separators=(",", ":")))


def dump_folder(scratch: str) -> str:
    """Return a folder for what the compiler writes down, inside that for its temporary files."""
    folder = os.path.join(scratch, "written")
    os.makedirs(folder, exist_ok=True)
    return folder
