# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Which recipes are worth a trial: made from what is in the module, the target, and what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from shark_turbine.compiler import Recipe
from shark_turbine.compiler.facts import ModuleFacts
from shark_turbine.compiler.targets import CPU_BACKEND, Target, merge_flags

from .machines import LocalMachine

_PACKING = "--iree-opt-data-tiling"
_IM2COL = "--iree-global-opt-use-im2col-for-convs"

# Options that made some model faster on llvm-cpu, and others slower; docs/tuning.md has the numbers,
# and what helped none.
_OPTIONS = (
    ("peeled loops", "--iree-llvmcpu-vector-pproc-strategy=peel"),
    ("large workgroups", "--iree-llvmcpu-distribution-size=128"),
    ("small workgroups", "--iree-llvmcpu-distribution-size=32"),
    ("O3", "--iree-opt-level=O3"),
)


def candidates(
    baseline: Recipe, facts: ModuleFacts, target: Target, machine: LocalMachine
) -> list[Recipe]:
    """Return recipes that each differ from the baseline in one thing, the likeliest to win first."""
    found = [
        replace(baseline, name=device.removeprefix("local-task?"), device=device)
        for device in [*devices(machine.cores), *(["local-task"] if baseline.device else [])]
    ]
    if CPU_BACKEND not in target.backends:
        return distinct(baseline, found)
    # With dynamic sizes packing may be wrong for other sizes than those that are tried.
    if (facts.has_products or facts.has_convolutions) and not facts.has_dynamic_sizes:
        found.append(_toggled(baseline, "packed", _PACKING))
    if facts.has_convolutions:
        found.append(_toggled(baseline, "im2col", _IM2COL))
    for rewrite in baseline.rewrites:
        others = tuple(name for name in baseline.rewrites if name != rewrite)
        found.append(replace(baseline, name=f"not {rewrite}", rewrites=others))
    for name, flag in _OPTIONS:
        flags = tuple(merge_flags(baseline.flags, [flag]))
        found.append(replace(baseline, name=name, flags=flags))
    return distinct(baseline, found)


def devices(cores: int) -> list[str]:
    """Return devices besides the default, which uses every core."""
    fewer = [f"local-task?threads={cores // 2}"] if cores >= 4 else []
    return ["local-sync", *fewer]


def combined(baseline: Recipe, better: Sequence[Recipe]) -> list[Recipe]:
    """Return what joins the best changes to the baseline, the best first in `better`."""
    found: list[Recipe] = []
    for count in range(2, len(better) + 1):
        first, *others = better[:count]
        joined = first
        for other in others:
            joined = _join(baseline, joined, other)
        found.append(joined)
    if len(better) > 2:
        found.append(_join(baseline, better[0], better[2]))
    return distinct(baseline, found)


def _join(baseline: Recipe, one: Recipe, other: Recipe) -> Recipe:
    """Return the changes of both; what one of them took away stays away."""
    removed = [f for f in baseline.flags if f not in one.flags or f not in other.flags]
    flags = merge_flags(one.flags, [f for f in other.flags if f not in one.flags])
    flags = tuple(flag for flag in flags if flag not in removed)
    return Recipe(
        f"{one.name} + {other.name}",
        flags,
        tuple(name for name in one.rewrites if name in other.rewrites),
        device=one.device if one.device != baseline.device else other.device,
    )


def distinct(baseline: Recipe, recipes: Iterable[Recipe]) -> list[Recipe]:
    """Return the recipes that differ from the baseline and from each other, by what they do."""
    found = {_effect(baseline): baseline}
    for recipe in recipes:
        found.setdefault(_effect(recipe), recipe)
    return list(found.values())[1:]


def _effect(recipe: Recipe) -> tuple[object, ...]:
    return recipe.flags, recipe.rewrites, recipe.device


def _toggled(baseline: Recipe, name: str, flag: str) -> Recipe:
    if flag not in baseline.flags:
        return replace(baseline, name=name, flags=(*baseline.flags, flag))
    flags = tuple(other for other in baseline.flags if other != flag)
    return replace(baseline, name=f"not {name}", flags=flags)
