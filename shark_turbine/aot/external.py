# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The external parameters of a program: what its manifest says of them, and a file that holds them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import torch

from shark_turbine import dtypes
from shark_turbine.checkpoints import (
    ExternalParameter,
    StoredTensor,
    hash_stored,
    hash_tensors,
    load_stored,
)
from shark_turbine.errors import DeclarationError, ParameterError

from .program import Program
from .spec import External
from .types import AbstractTensor

Place = tuple[str, str]  # Scope and key.


def describe_parameters(
    program: Program, *, with_hashes: bool = True
) -> Callable[[], list[dict[str, Any]]]:
    """Return a function that gives the manifest's entries; hashing takes a while."""
    parameters, values = _collect(program)

    @cache  # The compiler's cache asks, and the manifest.
    def describe() -> list[dict[str, Any]]:
        hashes = _hashes(values) if with_hashes else {}
        return [
            replace(parameter, hash=hashes.get(place)).to_json()
            for place, parameter in parameters.items()
        ]

    return describe


def parameter_values(program: Program, scope: str | None) -> dict[str, torch.Tensor]:
    """Return the tensors of a scope by key, tied ones once; `scope` may be None if there is one.

    Raises:
        DeclarationError: the program has no external parameters, or several scopes and none is named.
        ParameterError: it does not know the values of some.
    """
    parameters, values = _collect(program)
    scopes = list(dict.fromkeys(name for name, _ in parameters))
    chosen = scopes[0] if scope is None and len(scopes) == 1 else scope
    if chosen not in scopes:
        raise DeclarationError(
            "the program has no external parameters"
            if not scopes
            else "the program has several scopes, and a file holds one"
            if scope is None
            else f"the program has no external parameters of scope {scope!r}",
            where="save_parameters",
            got=f"scope={scope!r}",
            expected="an export with weights='external'"
            if not scopes
            else f"scope= one of {', '.join(map(repr, scopes))}",
            fix="aot.export(model, x, weights='external')"
            if not scopes
            else f"scope={scopes[0]!r}",
        )
    wanted = [key for name, key in parameters if name == chosen]
    unknown = [key for key in wanted if not is_known(values.get((chosen, key)))]
    if unknown:
        problems = [f"no value: {key!r}, {parameters[chosen, key]}" for key in unknown]
        raise ParameterError(
            "the values of external parameters are not known here",
            problems=problems,
            where="save_parameters",
            got="\n".join(problems),
            expected="parameters that were exported from tensors with values",
            fix="attach the file that the values are in, when the vmfb is loaded",
        )
    return {key: _tensor(values[chosen, key]) for key in wanted}


def _collect(program: Program) -> tuple[dict[Place, ExternalParameter], dict[Place, Any]]:
    """Return the parameters of a program, each once, and their values where they are known.

    Raises:
        DeclarationError: two globals have the same scope and key, and different types.
    """
    parameters: dict[Place, ExternalParameter] = {}
    values: dict[Place, torch.Tensor | StoredTensor | None] = {}
    for item in program.globals:
        if not isinstance(item.initial, External) or not isinstance(item.type, AbstractTensor):
            continue
        initial = item.initial
        place = (initial.scope, initial.key)
        parameter = ExternalParameter(
            scope=initial.scope,
            key=initial.key,
            dtype=dtypes.from_torch(item.type.dtype).name,
            shape=tuple(int(dim or 0) for dim in item.type.size),
            aliases=initial.aliases,
        )
        other = parameters.setdefault(place, parameter)
        if (other.dtype, other.shape) != (parameter.dtype, parameter.shape) or (
            initial.value is not None and values.get(place, initial.value) is not initial.value
        ):
            raise DeclarationError(
                f"two external globals are the same parameter {initial.scope}::{initial.key}",
                where=f"@{item.symbol}",
                got=f"{parameter} and {other}",
                expected="a key for each tensor",
                fix="name_mapper= with a key for each, or another external_scope=",
            )
        values[place] = initial.value
    return parameters, values


def _hashes(values: Mapping[Place, Any]) -> dict[Place, str]:
    stored = {place: value for place, value in values.items() if isinstance(value, StoredTensor)}
    live = {
        place: value
        for place, value in values.items()
        if isinstance(value, torch.Tensor) and is_known(value)
    }
    names = {f"{number}": place for number, place in enumerate(live)}
    hashed = hash_tensors({name: live[place] for name, place in names.items()})
    return {
        **{names[name]: digest for name, digest in hashed.items()},
        **dict(zip(stored, hash_stored(list(stored.values())), strict=True)),
    }


def is_known(value: Any) -> bool:
    """Say whether the value of a parameter is in memory or in a file."""
    if isinstance(value, StoredTensor):
        return value.dtype is not None
    return isinstance(value, torch.Tensor) and value.device.type != "meta" and _is_real(value)


def _is_real(tensor: torch.Tensor) -> bool:
    """Return whether a tensor has memory: torch's stand-ins have none."""
    return type(tensor) in (torch.Tensor, torch.nn.Parameter, torch.nn.Buffer)


def _tensor(value: torch.Tensor | StoredTensor | None) -> torch.Tensor:
    if isinstance(value, StoredTensor):
        return load_stored(value)
    assert value is not None  # `parameter_values` looked for those.
    return value
