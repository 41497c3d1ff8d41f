# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Attaching external parameters to a module: everything is compared with its manifest before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import iree.runtime as iree
import torch

from ..checkpoints import ExternalParameter, Fit, bytes_of, fit, torn_apart
from ..errors import LoadError, ParameterError
from .artifact import Artifact
from .sources import Source, is_tensor, open_source

_MOST_LISTED = 8


def parameters_in_memory(tensors: Mapping[str, torch.Tensor]) -> iree.ParameterIndex:
    """Return an index over the memory of tensors, for `load(..., parameters={scope: index})`.

    Nothing is copied here where a tensor is contiguous, so the tensors must keep their memory, and
    it should not change, as long as a module is loaded from the index.

    Args:
        tensors: from keys to tensors on the CPU.
    """
    index = iree.ParameterIndex()
    for key, tensor in tensors.items():
        index.add_buffer(key, bytes_of(tensor))
    return index


@dataclass(frozen=True, slots=True)
class Attached:
    """The parameters of a scope: an `iree.ParameterIndex` over files or memory."""

    scope: str
    index: Any

    def provider(self) -> Any:
        """Return the `iree.ParameterProvider` of them."""
        return self.index.create_provider(scope=self.scope)


def attach(
    artifact: Artifact, parameters: Any, *, strict: bool, check_hashes: bool
) -> list[Attached]:
    """Return what gives a module its parameters, scope by scope.

    Raises:
        ParameterError: a file is missing or damaged, or the parameters are not those of the module;
            everything that is wrong is said at once.
    """
    required = _required(artifact)
    if required is None:  # A stock vmfb does not say what it needs.
        return _unchecked(artifact, parameters)
    scopes = list(dict.fromkeys(parameter.scope for parameter in required))
    given = _by_scope(artifact, parameters, scopes)
    _check_scopes(artifact, required, scopes, given)
    sources = {scope: open_source(given[scope], artifact.origin) for scope in given}
    attached: list[tuple[str, Source, Mapping[str, str]]] = []
    problems: list[str] = []
    superfluous: list[str] = []
    for scope in scopes:
        wanted = [parameter for parameter in required if parameter.scope == scope]
        source = sources[scope]
        found = fit(wanted, source.offered)
        wrong = [*found.problems, *_of_other_bytes(wanted, found, source, check_hashes)]
        label = f"[{scope}] " if len(scopes) > 1 else ""
        problems += [label + problem for problem in wrong]
        if found.superfluous:
            superfluous.append(f"{label}superfluous: {_listed(found.superfluous)}")
        attached.append((scope, source, found.keys))
    if problems or (strict and superfluous):
        raise _do_not_fit(artifact, sources, problems, superfluous)
    return [_attached(scope, source, keys) for scope, source, keys in attached]


def _required(artifact: Artifact) -> list[ExternalParameter] | None:
    entries = (artifact.manifest or {}).get("parameters")
    if entries is None:
        return None
    try:
        return [ExternalParameter.from_json(entry) for entry in entries]
    except (KeyError, TypeError, ValueError) as error:
        raise LoadError(
            "the manifest inside the vmfb cannot be understood",
            where=artifact.origin,
            got=f"{type(error).__name__}: {error}",
            fix="compile it again",
        ) from error


def _unchecked(artifact: Artifact, parameters: Any) -> list[Attached]:
    given = _by_scope(artifact, parameters, ["model"])
    attached: list[Attached] = []
    for scope, value in given.items():
        if isinstance(value, iree.ParameterIndex):
            attached.append(Attached(scope, value))
            continue
        source = open_source(value, artifact.origin)
        attached.append(_attached(scope, source, {key: key for key in source.offered}))
    return attached


def _by_scope(artifact: Artifact, parameters: Any, scopes: Sequence[str]) -> dict[str, Any]:
    """Return sources by scope, also where none is named because there is one."""
    if parameters is None:
        return {}
    is_mapping = isinstance(parameters, Mapping)
    if is_mapping and not (parameters and all(map(is_tensor, parameters.values()))):
        return dict(parameters)
    if len(scopes) <= 1:
        return {scopes[0] if scopes else "model": parameters}
    raise ParameterError(
        f"the module has {len(scopes)} scopes of parameters",
        where=artifact.origin,
        got="parameters without a scope",
        expected=f"parameters for each of {', '.join(map(repr, scopes))}",
        fix=f"parameters={{{scopes[0]!r}: ..., {scopes[1]!r}: ...}}",
    )


def _check_scopes(
    artifact: Artifact,
    required: Sequence[ExternalParameter],
    scopes: Sequence[str],
    given: Mapping[str, Any],
) -> None:
    missing = [scope for scope in scopes if scope not in given]
    if missing:
        size = sum(parameter.nbytes for parameter in required)
        got = f"parameters of {', '.join(map(repr, given))}" if given else "no parameters"
        raise ParameterError(
            f"the module needs parameters of {', '.join(map(repr, missing))} that are not in it",
            problems=[f"missing: scope {scope!r}" for scope in missing],
            where=artifact.origin,
            got=got,
            expected=f"{len(required)} tensors of {size} bytes: {_some(required)}",
            fix="load(vmfb, parameters=path of their file or folder)"
            if len(scopes) == 1
            else f"load(vmfb, parameters={{{missing[0]!r}: path, ...}})",
        )
    if given and not scopes:
        raise ParameterError(
            "the module has no external parameters: its weights are inside",
            where=artifact.origin,
            got=f"parameters of {', '.join(map(repr, given))}",
            expected="no parameters=",
            fix="export it with weights='external' to give them when it is loaded",
        )


def _listed(keys: Sequence[str]) -> str:
    more = len(keys) - _MOST_LISTED
    shown = ", ".join(map(repr, keys[:_MOST_LISTED]))
    return f"{shown} and {more} more" if more > 0 else shown


def _some(required: Sequence[ExternalParameter]) -> str:
    shown = [f"{parameter.key!r}" for parameter in required[:3]]
    return ", ".join([*shown, "..."] if len(required) > len(shown) else shown)


def _of_other_bytes(
    wanted: Sequence[ExternalParameter], found: Fit, source: Source, check_hashes: bool
) -> list[str]:
    """Return a line for each tensor whose bytes are not those of the export, or of its twin."""
    known = {
        found.keys[parameter.key]: parameter.hash
        for parameter in wanted
        if check_hashes and parameter.hash is not None and parameter.key in found.keys
    }
    # What has another dtype or shape has another hash too, and was reported.
    for key in list(known):
        if any(f"different: {key!r} " in line for line in found.problems):
            del known[key]
    doubles = (key for names in found.doubles for key in names)
    hashes = source.hashes(dict.fromkeys((*known, *doubles)))
    other = [
        f"different: {key!r} has other values than at export"
        for key in known
        if key in hashes and hashes[key] != known[key]
    ]
    return [*other, *torn_apart(found, hashes)]


def _do_not_fit(
    artifact: Artifact,
    sources: Mapping[str, Source],
    problems: Sequence[str],
    superfluous: Sequence[str],
) -> ParameterError:
    lines = [*problems, *superfluous]
    names = ", ".join(source.name for source in sources.values())
    only_values = bool(problems) and all("other values" in problem for problem in problems)
    if only_values:
        fix = "attach the file of the export; or pass check_hashes=False if other values are meant"
    elif problems:
        fix = "attach the file that was saved with the vmfb, or the checkpoint it was exported from"
    else:
        fix = "leave strict=True out: parameters that nobody needs do no harm"
    return ParameterError(
        f"the parameters do not fit the module: {names}",
        problems=lines,
        where=artifact.origin,
        got="\n".join(lines),
        expected="what the vmfb was compiled for, tensor by tensor",
        fix=fix,
    )


def _attached(scope: str, source: Source, keys: Mapping[str, str]) -> Attached:
    index = iree.ParameterIndex()
    for under, key in keys.items():
        source.add(index, key, under)
    return Attached(scope, index)
