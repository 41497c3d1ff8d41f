# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`aot.export(..., weights=)`: which parameters and buffers of a program lie outside its vmfb."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.export.graph_signature import InputKind

from shark_turbine import dtypes
from shark_turbine.checkpoints import (
    Checkpoint,
    ExternalParameter,
    Fit,
    change_prefix,
    fit,
    hash_stored,
    open_checkpoint,
    prefixes,
    torn_apart,
)
from shark_turbine.errors import DeclarationError, ParameterError

from .spec import External
from .state import saved_tensors, tied_names
from .traits import ExternalTensorTrait

Path = str | os.PathLike[str]
Weights = Path | Sequence[Path]
NameMapper = Callable[[str], str | None]

# The prefix of a module that a plain function captures, see `trace/torch_export.py`.
_CAPTURED = "captured_0."
_UNCHANGED = ""


@dataclass(frozen=True, slots=True)
class WeightOptions:
    """The arguments of `aot.export` about weights."""

    weights: Weights = "inline"
    external_scope: str | None = None
    name_mapper: NameMapper | None = None

    @property
    def are_inline(self) -> bool:
        return isinstance(self.weights, str) and self.weights == "inline"

    @property
    def are_external(self) -> bool:
        """Whether they go to a file of their own; else, if not inline, they are in a checkpoint."""
        return isinstance(self.weights, str) and self.weights == "external"

    @property
    def scope(self) -> str:
        return "model" if self.external_scope is None else self.external_scope

    def check(self) -> None:
        """Raise a DeclarationError where the options contradict each other."""
        if self.are_inline and (self.external_scope is not None or self.name_mapper is not None):
            raise DeclarationError(
                "external_scope and name_mapper say where weights are that are not in the vmfb",
                where="aot.export",
                got="weights='inline'",
                expected="external_scope and name_mapper only where weights are external",
                fix="add weights='external', or weights= the path of a checkpoint",
            )
        if isinstance(self.weights, (str, os.PathLike)):
            return
        if not isinstance(self.weights, (list, tuple)) or not self.weights:
            raise DeclarationError(
                "weights= says where the weights go",
                where="aot.export",
                got=f"a {type(self.weights).__name__}",
                expected="'inline', 'external', or the path of a checkpoint: a file, a folder, or "
                "a list of files",
                fix="weights='external'",
            )


def refuse_for_compiled_module(options: WeightOptions, label: str) -> None:
    """Raise a DeclarationError: the body of a class says itself where its weights are."""
    if options.are_inline:
        return
    raise DeclarationError(
        "the body of a CompiledModule says where its weights are",
        where=label,
        got=f"weights={options.weights!r}",
        expected="weights= only for an nn.Module, a function or an ExportedProgram",
        fix="params = aot.export_parameters(model, external=True) in the class body",
    )


def external_weights(
    program: torch.export.ExportedProgram, module: Any, options: WeightOptions
) -> dict[str, External]:
    """Return the parameters and buffers of a program that are external, by qualified name.

    These are what `state_dict()` holds, if `weights=` says so, and what carries an
    `ExternalTensorTrait` in any case. Buffers that are not persistent are no weights: they are
    computed by the model's code, and no checkpoint has them.

    Args:
        module: the nn.Module that was exported, if it was one: it knows all names of tied weights.

    Raises:
        ParameterError: the checkpoint cannot be read, or lacks what the program needs.
    """
    is_module = isinstance(module, torch.nn.Module)
    tensors = saved_tensors(module) if is_module else _saved_of_program(program)
    tied = tied_names(tensors)
    used = {name for name in _used(program) if name in tensors}
    marked = {
        name: _of_trait(trait, tensors[name])
        for name in used
        if (trait := _trait(tensors, tied[name])) is not None
    }
    if options.are_inline:
        return marked
    wanted = _Wanted(
        options,
        {name: tensor for name, tensor in tensors.items() if name in used and name not in marked},
        tied,
    )
    if options.are_external:
        return {**wanted.in_a_new_file(), **marked}
    return {**wanted.in_checkpoint(open_checkpoint(options.weights)), **marked}


def _saved_of_program(program: torch.export.ExportedProgram) -> dict[str, torch.Tensor]:
    return {
        name: tensor
        for name, tensor in program.state_dict.items()
        if isinstance(tensor, torch.Tensor)
    }


def _used(program: torch.export.ExportedProgram) -> Iterable[str]:
    read = {node.name for node in program.graph.nodes if node.op == "placeholder" and node.users}
    written = {str(output.target) for output in program.graph_signature.output_specs}
    for entry in program.graph_signature.input_specs:
        is_state = entry.kind in (InputKind.PARAMETER, InputKind.BUFFER)
        if is_state and (entry.arg.name in read or str(entry.target) in written):
            yield str(entry.target)


def _trait(
    tensors: Mapping[str, torch.Tensor], names: tuple[str, ...]
) -> ExternalTensorTrait | None:
    traits = (ExternalTensorTrait.get(tensors[name]) for name in names)
    return next((trait for trait in traits if trait is not None), None)


def _of_trait(trait: ExternalTensorTrait, tensor: torch.Tensor) -> External:
    return External(trait.external_scope, trait.external_name, value=tensor)


class _Wanted:
    """The weights of a program, under the names that a file should hold them under."""

    def __init__(
        self,
        options: WeightOptions,
        tensors: Mapping[str, torch.Tensor],
        tied: Mapping[str, tuple[str, ...]],
    ) -> None:
        self._options = options
        self._tensors = tensors
        several = any(name.startswith("captured_1.") for name in tied)
        self._captured = "" if several else _CAPTURED
        self._keys = {
            name: tuple(dict.fromkeys(self._key(other) for other in (name, *tied[name])))
            for name in tensors
        }

    def in_a_new_file(self) -> dict[str, External]:
        """Return each under its first key."""
        return {
            name: External(self._options.scope, keys[0], keys[1:], self._tensors[name])
            for name, keys in self._keys.items()
        }

    def in_checkpoint(self, checkpoint: Checkpoint) -> dict[str, External]:
        """Return each under the key that the checkpoint has, which may differ by a prefix.

        Raises:
            ParameterError: some are missing, have another dtype or shape, or two prefixes fit.
        """
        change, found = self._best(checkpoint)
        doubles = [name for names in found.doubles for name in names]
        hashes = hash_stored([checkpoint.tensors[name] for name in doubles])
        torn = torn_apart(found, dict(zip(doubles, hashes, strict=True)))
        if found.problems or torn:
            found = replace(found, problems=(*found.problems, *torn))
            raise _does_not_fit(checkpoint, found, len(self._keys))
        external: dict[str, External] = {}
        for name, keys in self._keys.items():
            keys = tuple(change_prefix(key, change) for key in keys)
            key = found.keys[keys[0]]
            others = tuple(other for other in keys if other != key)
            stored = checkpoint.tensors[key]
            external[name] = External(self._options.scope, key, others, stored)
        return external

    def _best(self, checkpoint: Checkpoint) -> tuple[str, Fit]:
        as_they_are = self._fit(checkpoint, _UNCHANGED)
        if len(as_they_are.keys) == len(self._keys) or self._options.name_mapper is not None:
            return _UNCHANGED, as_they_are
        first = next(iter(self._keys.values()))
        changes = {change for key in first for change in prefixes(key, checkpoint.tensors)}
        fits = {change: self._fit(checkpoint, change) for change in sorted(changes)}
        complete = {
            change: found for change, found in fits.items() if len(found.keys) == len(self._keys)
        }
        if len(complete) > 1:
            raise _ambiguous(checkpoint, list(complete))
        return next(iter(complete.items()), (_UNCHANGED, as_they_are))

    def _fit(self, checkpoint: Checkpoint, change: str) -> Fit:
        required: list[ExternalParameter] = []
        for name, keys in self._keys.items():
            key, *aliases = (change_prefix(key, change) for key in keys)
            tensor = self._tensors[name]
            dtype = dtypes.from_torch(tensor.dtype, what=name).name
            scope, shape = self._options.scope, tuple(tensor.shape)
            required.append(ExternalParameter(scope, key, dtype, shape, tuple(aliases)))
        return fit(required, checkpoint.tensors)

    def _key(self, name: str) -> str:
        logical = name.removeprefix(self._captured)
        mapper = self._options.name_mapper
        mapped = None if mapper is None else mapper(logical)
        return logical if mapped is None else mapped


def _does_not_fit(checkpoint: Checkpoint, found: Fit, count: int) -> ParameterError:
    return ParameterError(
        "the checkpoint does not hold the weights of the model",
        problems=found.problems,
        where=f"aot.export(weights={checkpoint.name!r})",
        got="\n".join(found.problems),
        expected=f"{count} tensors under the names, and of the dtypes and shapes, that the model has",
        fix=_fix(checkpoint, found),
    )


def _fix(checkpoint: Checkpoint, found: Fit) -> str:
    if any(" dtype" in problem for problem in found.problems):
        dtypes_there = {tensor.dtype for tensor in checkpoint.tensors.values()}
        if len(dtypes_there) == 1 and (name := dtypes_there.pop()) is not None:
            return f"model.to({dtypes.from_name(name).torch}), or a checkpoint of the model's dtype"
    if any("are one tensor" in problem for problem in found.problems):
        return "a model that does not tie them, such as one made from the checkpoint's own configuration"
    if any(problem.startswith("missing") for problem in found.problems):
        return "name_mapper=lambda name: ... gives the checkpoint's key of a parameter"
    return "make the model with the configuration that the checkpoint was saved with"


def _ambiguous(checkpoint: Checkpoint, changes: Sequence[str]) -> ParameterError:
    said = [
        f"{change[1:]!r} {'before' if change[0] == '+' else 'less in'} every name"
        for change in changes
    ]
    return ParameterError(
        "the model's weights are in the checkpoint more than once, under different prefixes",
        problems=said,
        where=f"aot.export(weights={checkpoint.name!r})",
        got="\n".join(said),
        expected="one place for each weight",
        fix=f"name_mapper=lambda name: {changes[0][1:]!r} + name",
    )
