# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Can this machine run what is compiled for a target? Asked before anything is compiled."""

from __future__ import annotations

from shark_turbine.compiler import ResolvedTarget, Target
from shark_turbine.compiler.targets import CPU_BACKEND, resolve
from shark_turbine.errors import TuningError

# Backends whose code runs on a CPU that this package can load it on.
_RUNNABLE = (CPU_BACKEND, "vmvx")


def refuse_foreign(target: Target, resolved: ResolvedTarget, where: str) -> None:
    """Raise a TuningError where this machine cannot run what is compiled for a target."""
    fix = "tune on such a machine: executor= takes its workers; or compile without tune="
    strange = [name for name in target.backends if name not in _RUNNABLE]
    if strange:
        raise TuningError(
            f"trials run on this machine's CPU, not on {strange[0]}",
            where=where,
            got=f"target backends {', '.join(target.backends)}",
            expected=" or ".join(_RUNNABLE),
            fix=fix,
        )
    if CPU_BACKEND not in target.backends or target.cpu == "host":
        return
    here = resolve(Target())
    missing = _features(resolved) - _features(here)
    is_other = _architecture(resolved) != _architecture(here)
    if not is_other and not missing:
        return
    lacks = "" if is_other else f"; this CPU lacks {', '.join(sorted(missing)[:6])}"
    raise TuningError(
        "trials run on this machine, and code for the target does not",
        where=where,
        got=f"{resolved}{lacks}",
        expected="a target that this machine can run, such as target='host'",
        fix=fix,
    )


def _architecture(resolved: ResolvedTarget) -> str:
    name = (resolved.triple or "").partition("-")[0]
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(name, name)


def _features(resolved: ResolvedTarget) -> set[str]:
    names = (resolved.cpu_features or "").split(",")
    # LLVM lists scheduling hints like features; any CPU has those.
    return {
        name[1:]
        for name in names
        if name.startswith("+") and not name[1:].startswith(("tuning", "slow", "fast", "prefer"))
    }
