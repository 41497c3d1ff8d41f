# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Which of many small modules does the compiler take? Asked in children that may die of the answer."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from shark_turbine import ir

from . import trial_child
from .diagnostics import readable
from .facts import facts
from .options import Options, compiler_flags
from .recipes import RECIPES, cautious, choose
from .targets import Target
from .tools import ToolResult, run_tool

Depth = Literal["lower", "compile"]

_SECONDS = 300.0
_REFUSED = re.compile(r"^refused (?P<number>\d+) (?P<why>.*)$", re.MULTILINE)
_UNDEFINED = re.compile(r"undefined symbol: (?P<symbol>\w+)")


def refusals(modules: Sequence[Any], flags: Sequence[str], *, depth: Depth) -> dict[int, str]:
    """Try modules one by one for this machine's CPU; return why some are refused, by their places.

    Args:
        modules: `ir.Module`s.
        flags: options of the compiler, as for `compile`.
        depth: `lower` tries the lowering of torch operators, some milliseconds each; `compile`
            everything up to machine code, some hundred.
    """
    groups: dict[tuple[str, ...], list[int]] = {}
    for place, module in enumerate(modules):
        found = facts(module)
        recipe = choose(RECIPES["auto"], Target(), found)
        recipe = [recipe, *cautious(recipe)][-1]
        complete = compiler_flags(Options(flags=flags), Target(), found, recipe)
        groups.setdefault(tuple(complete), []).append(place)
    refused: dict[int, str] = {}
    for complete, places in groups.items():
        reasons = _try_all([modules[place] for place in places], complete, depth)
        refused.update((places[number], reason) for number, reason in reasons.items())
    return refused


def _try_all(modules: Sequence[Any], flags: Sequence[str], depth: Depth) -> dict[int, str]:
    found: dict[int, str] = {}
    with TemporaryDirectory(prefix="shark_turbine-") as scratch:
        for number, module in enumerate(modules):
            with Path(scratch, f"{number}.mlirbc").open("w+b") as file:
                ir.write_bytecode(module, file)
        first = 0
        with suppress(TimeoutError):
            while first < len(modules):
                first = _try_from(first, len(modules), scratch, flags, depth, found)
    return found


def _try_from(
    first: int, end: int, scratch: str, flags: Sequence[str], depth: Depth, found: dict[int, str]
) -> int:
    """Try modules until all are done or the child dies; return the place to go on from."""
    command = [sys.executable, "-I", trial_child.__file__, depth, scratch, str(first), str(end)]
    result = run_tool([*command, *flags], timeout=_SECONDS, scratch=scratch)
    text = result.stdout.decode(errors="replace")
    for refused in _REFUSED.finditer(text):
        number = int(refused["number"])
        found[number] = _reason(refused["why"], number, result)
    begun = [int(number) for number in re.findall(r"^begin (\d+)$", text, re.MULTILINE)]
    finished = re.findall(r"^(?:fine|refused) (\d+)", text, re.MULTILINE)
    if not begun:
        return end
    if len(begun) > len(finished):
        found[begun[-1]] = f"the compiler crashes on it ({result.signal_name or result.status})"
        return begun[-1] + 1
    return end


def _reason(why: str, number: int, result: ToolResult) -> str:
    said = result.stderr.partition(f"module {number}\n")[2].partition("\nmodule ")[0]
    missing = _UNDEFINED.search(said)
    if missing is not None:
        return f"the CPU code has no function {missing['symbol']}"
    return readable(why)
