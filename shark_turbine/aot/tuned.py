# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Tuning of an exported program: its calls, the results to compare with, and who is remembered."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

import torch

from shark_turbine import ir, trees, tuning
from shark_turbine.checkpoints import StoredTensor, write_safetensors
from shark_turbine.compiler import Recipe
from shark_turbine.compiler.cache_key import program_digest
from shark_turbine.compiler.facts import facts
from shark_turbine.compiler.options import Options, ask_target, expand, recipe_of
from shark_turbine.errors import DeclarationError
from shark_turbine.signature import FunctionSignature
from shark_turbine.tuning import Memory, TuningOptions
from shark_turbine.versions import installed

from .eager_twin import EagerCall, EagerTwin
from .external import describe_parameters, is_known
from .program import Program
from .spec import External, ModuleSpec, ProgramSpec

# What of the options of a compilation goes to trials; the rest is the recipe, and limits.
_FOR_TRIALS = (
    "target_backends", "target_cpu", "target_cpu_features", "target_triple", "flags",
    "strip_contracts", "lowering", "signatures", "name", "stateful", "state", "preserves_inputs",
)  # fmt: skip


class Tunable:
    """An exported program with what it is compiled with, as tuning sees it."""

    def __init__(
        self,
        module: Any,
        compile_options: Mapping[str, Any],
        program: Program,
        spec: ModuleSpec,
        eager: Callable[..., Any] | None,
    ) -> None:
        self._module = module
        self._program = program
        self._spec = spec
        self._eager = EagerTwin(program, spec, eager)
        self.where = spec.label
        self.options = expand(Options(**compile_options))
        self._target, self._resolved = ask_target(self.options)
        self._facts = facts(module)
        self._baseline = recipe_of(
            self.options, self._target, self._facts, self._resolved.cpu_features
        )

    def tune(self, given: TuningOptions) -> tuning.TuningResult:
        """Search for the fastest recipe; `ExportOutput.tune` says the rest."""
        given.check(self.where)
        if given.executor is None:
            tuning.refuse_foreign(self._target, self._resolved, self.where)
        calls = self._calls(given)
        machine = tuning.this_machine()
        candidates = given.candidates
        if candidates is None:
            candidates = tuning.candidates(self._baseline, self._facts, self._target, machine)
        program = self._program_key()
        memory = Memory(_key(program, [call for call, _ in calls]), program)
        if given.fresh:
            memory.forget()
        limits = tuning.Limits(given.trial_timeout, given.trial_timeout, given.measure)
        with TemporaryDirectory(prefix="shark_turbine-") as folder:
            job, reference = self._job(given, calls, limits, folder)
            plan = tuning.Plan(
                job=job,
                baseline=self._baseline,
                candidates=candidates,
                combines=given.candidates is None,
                memory=memory,
                reference=reference,
                limits=limits,
                budget=given.budget,
                margin=given.margin,
                executor=given.executor,
                where=self.where,
            )
            return tuning.search(plan, progress=given.progress, folder=folder)

    def remembered(self) -> Recipe | None:
        """Return the winner of an earlier tuning on this CPU.

        It is that for the example arguments, where an export has some and they were tuned, and else
        the last one that was found.
        """
        program = self._program_key()
        cpu = tuning.this_machine().cpu
        key = None
        if all(self._examples(name) is not None for name in self._public()):
            key = _key(program, [call for call, _ in self._calls(TuningOptions())])
        winner = tuning.recall_winner(program, key, cpu)
        return None if winner is None else winner.recipe

    def compile_options(self, recipe: Recipe) -> dict[str, Any]:
        """Return the options of a compilation with a recipe, for the target that was tuned."""
        names = ("target_backends", "target_cpu", "target_cpu_features", "target_triple", "flags")
        return {
            **{name: getattr(self.options, name) for name in names},
            "target": None,
            "recipe": recipe,
        }

    def _program_key(self) -> str:
        options = self.options
        told = [
            program_digest(self._module),
            self._baseline.to_json(),
            [options.target_backends, options.target_triple, options.target_cpu],
            [options.target_cpu_features, list(options.flags), options.lowering],
            [options.strip_contracts, installed("torch"), installed("iree-base-runtime")],
        ]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    def _public(self) -> dict[str, FunctionSignature]:
        return {one.signature.name: one.signature for one in self._program.procedures}

    def _examples(self, function: str) -> tuple[Sequence[Any], Mapping[str, Any]] | None:
        """Return the arguments that a function was exported with; None where there are none."""
        member = self._spec.members.get(function)
        if not isinstance(member, ProgramSpec) or member.program.example_inputs is None:
            return None
        args, kwargs = member.program.example_inputs
        leaves = [*trees.leaves(args), *trees.leaves(kwargs)]
        has_values = all(
            type(leaf) in (torch.Tensor, torch.nn.Parameter) and leaf.device.type != "meta"
            for leaf in leaves
            if isinstance(leaf, torch.Tensor)
        )
        return (args, kwargs) if has_values else None

    def _calls(self, given: TuningOptions) -> list[tuple[tuning.Call, EagerCall]]:
        """Return the calls that are measured, flat and as the user gives them."""
        public = self._public()
        calls: list[tuple[tuning.Call, EagerCall]] = []
        for name in self._names(given):
            found = self._examples(name)
            if given.args is not None or given.kwargs is not None:
                found = tuple(given.args or ()), dict(given.kwargs or {})
            if found is None:
                raise DeclarationError(
                    f"it is not known what {name} is called with",
                    where=self.where,
                    got="no arguments",
                    expected=f"arguments of {public[name]}",
                    fix=f"tune(args=(...), function={name!r})",
                )
            call = tuning.bind(public[name], *found, self.where)
            calls.append((call, EagerCall(name, *found)))
        return calls

    def _names(self, given: TuningOptions) -> list[str]:
        """Return the names of the functions that are called."""
        public = self._public()
        names = list(public) if given.function is None else [given.function]
        if not names or names[0] not in public:
            raise DeclarationError(
                f"there is no function {given.function!r}" if names else "there are no functions",
                where=self.where,
                got=f"function={given.function!r}",
                expected=" or ".join(map(repr, public)) or "a program with a function",
                fix=f"function={next(iter(public))!r}" if public else None,
            )
        if len(names) > 1 and (given.args is not None or given.kwargs is not None):
            raise DeclarationError(
                "the program has several functions, and the arguments are of one",
                where=self.where,
                got=f"arguments, and the functions {', '.join(names)}",
                expected="function= with its arguments; or no arguments: those of the export",
                fix=f"tune(args=(...), function={names[0]!r})",
            )
        return names

    def _job(
        self,
        given: TuningOptions,
        calls: Sequence[tuple[tuning.Call, EagerCall]],
        limits: tuning.Limits,
        folder: str,
    ) -> tuple[tuning.Job, str]:
        """Return what every trial needs, and what results are compared with."""
        with TemporaryFile(prefix="shark_turbine-") as file:
            ir.write_bytecode(self._module, file)
            file.seek(0)
            bytecode = file.read()
        job = tuning.Job(
            module=bytecode,
            options={name: getattr(self.options, name) for name in _FOR_TRIALS},
            described=describe_parameters(self._program, with_hashes=False)(),
            parameters=self._parameter_files(given.parameters, folder),
            calls=tuple(call for call, _ in calls),
            is_stateful=self._program.is_stateful,
            tolerance=given.tolerance,
        )
        expected = None
        if given.parameters is None:
            expected = self._eager.results([call for _, call in calls], job.rounds)
        if expected is not None:
            return replace(job, expected=expected), "eager"
        with TemporaryDirectory(prefix="shark_turbine-") as other:
            results = tuning.run_reference(job, limits, other)
        return replace(job, expected=results), "recipe none"

    def _parameter_files(self, given: tuning.Parameters, folder: str) -> dict[str, tuple[str, ...]]:
        """Return the files that hold the external parameters, by scope; values in memory are written."""
        external = [
            item.initial for item in self._program.globals if isinstance(item.initial, External)
        ]
        scopes = list(dict.fromkeys(item.scope for item in external))
        if given is not None:
            by_scope = given if isinstance(given, Mapping) else dict.fromkeys(scopes, given)
            return {scope: _paths(by_scope[scope]) for scope in scopes if scope in by_scope}
        files: dict[str, tuple[str, ...]] = {}
        for number, scope in enumerate(scopes):
            mine = [item for item in external if item.scope == scope]
            unknown = [item.key for item in mine if not is_known(item.value)]
            if unknown:
                raise DeclarationError(
                    "the values of external parameters are not known here",
                    where=self.where,
                    got=f"no value of {', '.join(map(repr, unknown[:4]))}",
                    expected="the file that they are in",
                    fix="tune(..., parameters='weights.safetensors')",
                )
            stored = [one.value for one in mine if isinstance(one.value, StoredTensor)]
            live = {one.key: one.value for one in mine if isinstance(one.value, torch.Tensor)}
            paths = list(dict.fromkeys(str(one.file.path) for one in stored))
            if live:
                path = Path(folder, f"parameters-{number}.safetensors")
                with path.open("wb") as file:
                    write_safetensors(file, {key: value.detach() for key, value in live.items()})
                paths.append(str(path))
            files[scope] = tuple(paths)
        return files


def _key(program: str, calls: Sequence[tuning.Call]) -> str:
    shapes = [(call.function, call.shapes) for call in calls]
    return hashlib.sha256(json.dumps([program, shapes]).encode()).hexdigest()


def _paths(given: Any) -> tuple[str, ...]:
    if isinstance(given, (str, os.PathLike)):
        return (str(Path(given).absolute()),)
    return tuple(str(Path(path).absolute()) for path in given)
