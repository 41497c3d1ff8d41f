# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The API reference: every public name has its place in it, and a docstring that says what it takes."""

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import shark_turbine
from shark_turbine import errors

REFERENCE = Path(__file__).parents[2] / "docs/reference"
# Of tuning, users meet what `ExportOutput.tune` gives; the rest of the room is for `aot`.
OF_TUNING = ("Trial", "TuningResult")
ROOMS = ("aot", "compiler", "dynamo", "profiling", "runtime")
ENTRY = re.compile(r"^\.\. (?:auto\w+|py:data):: (?P<names>.+(?:\n {10,}\w+$)*)", re.MULTILINE)


def public_names() -> Iterator[tuple[str, Any]]:
    """Yield every public name with what it stands for."""
    for name in shark_turbine.__all__:
        yield f"shark_turbine.{name}", getattr(shark_turbine, name)
    for room in ROOMS:
        module = importlib.import_module(f"shark_turbine.{room}")
        for name in module.__all__:
            yield f"shark_turbine.{room}.{name}", getattr(module, name)
    tuning = importlib.import_module("shark_turbine.tuning")
    for name in OF_TUNING:
        yield f"shark_turbine.tuning.{name}", getattr(tuning, name)
    for name, kind in vars(errors).items():
        if inspect.isclass(kind) and kind.__module__ == errors.__name__ and name[0] != "_":
            yield f"shark_turbine.errors.{name}", kind


PUBLIC = dict(public_names())


def described() -> Iterator[tuple[str, Any]]:
    """Yield the public functions, classes and members of classes, each with a name."""
    for name, thing in PUBLIC.items():
        if inspect.isfunction(thing) or inspect.isclass(thing):
            yield name, thing
        if inspect.isclass(thing):
            yield from members_of(name, thing)


def members_of(name: str, kind: type) -> Iterator[tuple[str, Any]]:
    """Yield the functions of a class's public methods and properties, each with a name."""
    for member, value in vars(kind).items():
        function = getattr(value, "__func__", getattr(value, "fget", value))
        if member[0] != "_" and inspect.isfunction(function):
            yield f"{name}.{member}", function


DESCRIBED = dict(described())


def parameters_of(thing: Any) -> list[str]:
    """Return the names of what a function or a constructor takes."""
    if inspect.isclass(thing) and issubclass(thing, Exception):
        return []
    names = inspect.signature(thing).parameters
    return [name for name in names if name not in ("self", "cls") and name[0] != "_"]


def text_it_refers_to(thing: Any, text: str) -> str:
    """Return the docstring of the function beside it whose arguments a function shares."""
    found = re.search(r"\bArgs\b[^.]* are\s+those\s+of `(\w+)`", text)
    return vars(inspect.getmodule(thing))[found[1]].__doc__ if found else ""


def entries_of(page: str) -> set[str]:
    """Return the full names that a page of the reference describes."""
    names, module = set(), ""
    for line in re.split(r"\n(?=\.\. )", page):
        found = re.match(r"\.\. (?:currentmodule|py:module):: (\S+)", line)
        if found:
            module = found[1]
        entry = ENTRY.match(line)
        for name in entry["names"].split() if entry else ():
            names.add(name if name.startswith("shark_turbine.") else f"{module}.{name}")
    return names


def test_every_public_name_is_in_the_reference() -> None:
    found = set().union(*(entries_of(page.read_text()) for page in REFERENCE.glob("*.md")))
    # `shark_turbine.profile` is the same function.
    assert PUBLIC.keys() - found == {"shark_turbine.profiling.profile"}
    assert found - PUBLIC.keys() == set()


@pytest.mark.parametrize("name", DESCRIBED)
def test_a_docstring_has_a_summary_and_names_the_parameters(name: str) -> None:
    thing = DESCRIBED[name]
    text = (
        inspect.getdoc(thing) if inspect.isclass(thing) else inspect.cleandoc(thing.__doc__ or "")
    )
    assert text, "no docstring"
    text += text_it_refers_to(thing, text)
    assert re.match(r".{10,}", text.split("\n\n")[0].replace("\n", " ")), "no summary"
    missing = [
        parameter
        for parameter in parameters_of(thing)
        if not re.search(rf"^ +\**{parameter}: |`\**{parameter}\b", text, re.MULTILINE)
    ]
    assert missing == [], "parameters that the docstring does not name"
