# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What `compile` is told, and what the compiler is told in turn."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from shark_turbine.errors import CompileError
from shark_turbine.signature import FunctionSignature, StateEntry

from .facts import ModuleFacts
from .machines import PORTABLE_CPUS, find_machine
from .recipes import Recipe, choose, make_recipe
from .targets import CPU_BACKEND, ResolvedTarget, Target, make_target, merge_flags, resolve

DEFAULT_TIMEOUT = 3600.0

Lowering = Literal["iree", "torch-mlir"]
DescribeParameters = Callable[[], Sequence[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Options:
    """What `compile` is told about a module, under the same names and with the same defaults."""

    target_backends: Sequence[str] = (CPU_BACKEND,)
    target_cpu: str | None = "host"
    target_cpu_features: str | None = None
    target_triple: str | None = None
    target: str | None = None
    recipe: str | Recipe = "auto"
    flags: Sequence[str] = ()
    timeout: float | None = DEFAULT_TIMEOUT
    strip_contracts: bool = False
    lowering: Lowering = "iree"
    signatures: Sequence[FunctionSignature] = ()
    name: str | None = None
    stateful: bool | None = None
    state: Sequence[StateEntry] | None = None
    preserves_inputs: bool = False
    diagnose: bool = True
    parameters: DescribeParameters | None = None


def expand(options: Options) -> Options:
    """Write out what a named target and a recipe stand for.

    Raises:
        CompileError: there is no such target or recipe, or the target is said in two ways.
    """
    recipe = make_recipe(options.recipe)
    options = replace(options, recipe=recipe)
    if options.target is not None:
        _refuse_two_targets(options)
        machine = find_machine(options.target)
        return replace(
            options,
            target_backends=(machine.backend,),
            target_triple=machine.triple,
            target_cpu=machine.cpu,
            target_cpu_features=machine.cpu_features,
            flags=(*machine.flags, *options.flags),
        )
    if recipe.name == "portable" and options.target_cpu == "host":
        return replace(options, target_cpu=PORTABLE_CPUS.get(platform.machine(), "generic"))
    return options


def _refuse_two_targets(options: Options) -> None:
    default = Options()
    said = [
        f"{name}={getattr(options, name)!r}"
        for name in ("target_backends", "target_cpu", "target_cpu_features", "target_triple")
        if getattr(options, name) != getattr(default, name)
    ]
    if said:
        raise CompileError(
            "the target is said in two ways",
            stage="options",
            got=f"target={options.target!r}, {', '.join(said)}",
            expected="target=, or the single options",
            fix=f"drop {said[0].partition('=')[0]}=",
        )


def ask_target(options: Options) -> tuple[Target, ResolvedTarget]:
    """Ask the compiler about the target of expanded options; it is asked once in a process.

    Raises:
        CompileError: the compiler does not know it.
    """
    target = make_target(
        options.target_backends,
        triple=options.target_triple,
        cpu=options.target_cpu,
        cpu_features=options.target_cpu_features,
    )
    return target, resolve(target, options.flags)


def recipe_of(
    options: Options, target: Target, found: ModuleFacts, cpu_features: str | None
) -> Recipe:
    """Return the recipe of the options, its choices made for a module and the CPUs of a target."""
    return choose(make_recipe(options.recipe), target, found, cpu_features)


def compiler_flags(
    options: Options, target: Target, found: ModuleFacts, recipe: Recipe
) -> list[str]:
    """Return the compiler's options; the recipe's replace ours of the same name, the user's both."""
    ours = [
        *target.flags(),
        # Where a value, its name and its file came from: paths of this machine, not reproducible.
        "--iree-vm-bytecode-module-strip-source-map",
        # The default strips the contracts from -O1 on.
        f"--iree-opt-strip-assertions={str(options.strip_contracts).lower()}",
    ]
    if CPU_BACKEND in target.backends:
        # They name the files that the program came from, with their folders.
        ours.append("--iree-llvmcpu-debug-symbols=false")
        # Half of the 128 KiB that the runtime's worker threads have; the default is a quarter.
        ours.append("--iree-llvmcpu-stack-allocation-limit=65536")
    if found.needs_f64:
        # The default reads and writes f64 data as f32, without a word.
        ours.append("--iree-input-demote-f64-to-f32=false")
    return merge_flags(merge_flags(ours, recipe.flags), options.flags)
