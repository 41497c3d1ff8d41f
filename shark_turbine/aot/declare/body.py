# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""From the body of a class to a `ModuleSpec`."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from types import FunctionType
from typing import Any

import torch

from shark_turbine.errors import DeclarationError, SourceLocation

from ..spec import GlobalTree, Helper, Jittable, Member, ModuleSpec, ProgramSpec
from .globals import DeclaredGlobal, DeclaredTree, GlobalCollector
from .naming import module_name
from .signature import collect_procedure


def collect_body(
    class_name: str,
    body: Mapping[str, Any],
    bases: Sequence[ModuleSpec],
    export_name: str | None,
) -> ModuleSpec:
    """Collect a class body: each attribute is classified by its value; bases give the rest.

    Raises:
        DeclarationError: an attribute is nothing that a module can hold; it is named, with the
            file and line of its class or function.
    """
    location = SourceLocation.of_user()  # The class statement is being executed.
    collector = GlobalCollector(class_name, location)
    members: dict[str, Member] = {}
    for base in bases:  # From the farthest: the nearest wins, also where bases share a base.
        members.update((name, base.members[name]) for name in base.own)
    for name, member in members.items():
        if isinstance(member, GlobalTree) and name not in body:
            collector.adopt(member)
    own = {
        name: _member(class_name, name, value, collector, location)
        for name, value in body.items()
        if not _is_dunder(name)
    }
    for name, member in own.items():
        _check_override(class_name, name, members.get(name), member, location)
    return ModuleSpec(
        name=module_name(class_name, export_name, location),
        label=class_name,
        members={name: _complete(member, collector) for name, member in {**members, **own}.items()},
        own=tuple(own),
        location=location,
        rewrites=tuple(dict.fromkeys(rewrite for base in bases for rewrite in base.rewrites)),
    )


def _member(
    owner: str,
    name: str,
    value: Any,
    collector: GlobalCollector,
    location: SourceLocation | None,
) -> Member:
    match value:
        case Jittable():
            # A lambda has no name of its own: the attribute's is what its user knows it by.
            return dataclasses.replace(value, name=name) if value.name == "lambda" else value
        case torch.export.ExportedProgram():
            return ProgramSpec(name, value, is_public=not name.startswith("_"), location=location)
        case DeclaredGlobal() | DeclaredTree():
            return collector.collect(name, value)
        case FunctionType() if name.startswith("_"):
            return Helper(name, value)
        case FunctionType():
            return collect_procedure(owner, name, value)
        case _:
            raise _misplaced(owner, name, value, location)


def _complete(member: Member, collector: GlobalCollector) -> Member:
    """Return a member with what only the whole body says: the other names of its tensors."""
    return collector.name_aliases(member) if isinstance(member, GlobalTree) else member


def _misplaced(
    owner: str, name: str, value: Any, location: SourceLocation | None
) -> DeclarationError:
    fix = "move it out of the class body"
    shown = repr(value)
    if isinstance(value, torch.nn.Module):
        fix = f"{name} = aot.jittable(model.forward), and aot.export_parameters(model) for weights"
    elif isinstance(value, (torch.Tensor, bool, int, float)):
        fix = f"{name} = aot.export_global(...) to make it state, or move it out of the class body"
    elif isinstance(value, (dict, list, tuple)):
        fix = f"{name} = aot.export_global_tree(...) to make it state"
    elif isinstance(value, (staticmethod, classmethod, property)):
        fix = f"make {name} a plain method, or a torch function with @aot.jittable"
        inner = value.fget if isinstance(value, property) else value.__func__
        if isinstance(inner, FunctionType):
            location = SourceLocation.from_function(inner)
        shown = f"a {type(value).__name__}"
    elif callable(value) and not isinstance(value, type):
        fix = f"{name} = aot.jittable(...)"
    if isinstance(value, (torch.nn.Module, torch.Tensor)):
        shown = f"{type(value).__name__}(...)"
    return DeclarationError(
        "this attribute is nothing that a compiled module can hold",
        where=f"{owner}.{name}",
        location=location,
        got=f"{name} = {re.sub(' at 0x[0-9a-f]+', '', shown.splitlines()[0])[:80]}",
        expected="a method, an aot.jittable, an aot.export_* declaration, or an ExportedProgram",
        fix=fix,
    )


def _check_override(
    owner: str, name: str, old: Member | None, new: Member, location: SourceLocation | None
) -> None:
    if old is not None and isinstance(old, GlobalTree) != isinstance(new, GlobalTree):
        raise DeclarationError(
            f"{name!r} changes its kind: a base class declares it differently",
            where=f"{owner}.{name}",
            location=location,
            got=str(new),
            expected=f"the kind that the base declares: {old}",
            fix="choose another name",
        )


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")
