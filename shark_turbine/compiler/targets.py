# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a module is compiled for, checked against the compiler's own lists.

The compiler itself crashes on an unknown triple, dies on an unknown CPU and ignores an unknown CPU
feature. Here each is an error that says what was meant.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from shark_turbine.errors import CompileError

from .worker import run_iree

CPU_BACKEND, CUDA_BACKEND = "llvm-cpu", "cuda"
_PROBE_SECONDS = 60.0
_TARGET_FLAGS = ("--iree-llvmcpu-target-", "--iree-hal-target-", "--iree-rocm-", "--iree-cuda-")


@dataclass(frozen=True, slots=True)
class Target:
    """The backends and the machine that a module is compiled for.

    The three fields of a machine matter to the `llvm-cpu` backend alone.

    Attributes:
        backends: IREE's names of them.
        triple: LLVM's words for architecture and system; None is this machine's.
        cpu: a name of LLVM's list, `host` for this machine's, or `generic` for any machine of the
            architecture; None leaves the choice to the compiler.
        cpu_features: LLVM's, such as `+avx2,-fma`.
    """

    backends: tuple[str, ...] = (CPU_BACKEND,)
    triple: str | None = None
    cpu: str | None = "host"
    cpu_features: str | None = None

    def flags(self) -> tuple[str, ...]:
        """Return the compiler's options."""
        flags = [f"--iree-hal-target-backends={backend}" for backend in self.backends]
        if CPU_BACKEND in self.backends:
            machine = {"triple": self.triple, "cpu": self.cpu, "cpu-features": self.cpu_features}
            flags += [
                f"--iree-llvmcpu-target-{option}={value}"
                for option, value in machine.items()
                if value is not None
            ]
        return tuple(flags)


@dataclass(frozen=True, slots=True)
class ResolvedTarget:
    """What the compiler makes of a `Target`: never `host`, and every CPU feature by name.

    Attributes:
        backends: IREE's names of them.
        triple: LLVM's words for architecture and system.
        cpu: a name of LLVM's list.
        cpu_features: every feature that code may use.
        data_layout: how LLVM lays data out for the triple.
    """

    backends: tuple[str, ...]
    triple: str | None
    cpu: str | None
    cpu_features: str | None
    data_layout: str | None

    def to_json(self) -> dict[str, Any]:
        """Return the manifest's form."""
        return {
            "backends": list(self.backends),
            "triple": self.triple,
            "cpu": self.cpu,
            "cpu_features": self.cpu_features,
            "data_layout": self.data_layout,
        }

    def __str__(self) -> str:
        parts = (", ".join(self.backends), self.triple, self.cpu)
        return " ".join(part for part in parts if part)


def make_target(
    backends: Sequence[str] | str,
    *,
    triple: str | None = None,
    cpu: str | None = "host",
    cpu_features: str | None = None,
) -> Target:
    """Return a checked target.

    `host` on the triple of another architecture means `generic`: this machine's features do not
    exist there.

    Raises:
        CompileError: the compiler has no such backend, triple, CPU or feature.
    """
    names = (backends,) if isinstance(backends, str) else tuple(backends)
    if not names:
        raise CompileError("no target backend is given", stage="target", expected=backend_names())
    for name in names:
        if name not in backend_names():
            raise _unknown("target backend", name, backend_names())
    if CPU_BACKEND not in names:
        return Target(names, None, None, None)
    if triple is not None:
        _check_triple(triple)
        if cpu == "host" and _architecture(triple) != _host_architecture():
            cpu = "generic"
    if cpu not in (None, "host", "generic"):
        _check_cpu(triple, cpu)
    if cpu_features not in (None, "", "host"):
        _check_features(triple, cpu_features)
    return Target(names, triple, cpu, cpu_features)


def merge_flags(ours: Sequence[str], theirs: Sequence[str]) -> list[str]:
    """Return both, without those of ours that they also set: the compiler takes each once."""
    replaced = {flag.partition("=")[0] for flag in theirs}
    return [flag for flag in ours if flag.partition("=")[0] not in replaced] + list(theirs)


def resolve(target: Target, flags: Sequence[str] = ()) -> ResolvedTarget:
    """Ask the compiler what a target stands for; the answer is kept for the process.

    Args:
        target: what to ask about.
        flags: the user's options; those that choose a target count.

    Raises:
        CompileError: the compiler refuses the target.
    """
    choosing = (flag for flag in flags if flag.startswith(_TARGET_FLAGS))
    return _resolve(target, tuple(choosing))


@cache
def _resolve(target: Target, flags: tuple[str, ...]) -> ResolvedTarget:
    result = _probe(merge_flags(target.flags(), flags))
    if result.status != 0:
        words = [line for line in result.stderr.splitlines() if line.strip()]
        raise CompileError(
            "the compiler refuses the target",
            stage="target",
            got=" ".join(merge_flags(target.flags(), flags)),
            expected=words[0] if words else "a target of the compiler's lists",
        )
    text = result.stdout.decode(errors="replace")
    entries = re.findall(r'#hal\.executable\.target<"llvm-cpu", "[^"]*", \{(.*?)\}>', text)
    values = dict(re.findall(r'(\w+) = "([^"]*)"', entries[0])) if entries else {}
    return ResolvedTarget(
        backends=target.backends,
        triple=values.get("target_triple"),
        cpu=values.get("cpu"),
        cpu_features=values.get("cpu_features"),
        data_layout=values.get("data_layout"),
    )


@cache
def backend_names() -> tuple[str, ...]:
    """Return the backends of the installed compiler, such as `llvm-cpu` and `vmvx`."""
    result = run_iree("iree-compile", ["--iree-hal-list-target-backends"], timeout=_PROBE_SECONDS)
    return tuple(line.strip() for line in result.stdout.decode().splitlines() if line[:1] == " ")


@cache
def _architectures() -> tuple[str, ...]:
    result = run_iree("iree-compile", ["--iree-llvmcpu-list-targets"], timeout=_PROBE_SECONDS)
    return tuple(re.findall(r"^\s+([\w-]+)\s+- ", result.stdout.decode(), re.MULTILINE))


@cache
def _machine_lists(triple: str | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the CPUs and of the CPU features of an architecture."""
    result = _probe(Target(triple=triple, cpu="help").flags())
    cpus, _, features = result.stderr.partition("Available features for this target:")
    accepted = re.search(r"List of accepted CPUs: (.*)", result.stderr)
    named = re.findall(r"^  (\S+)\s+- Select the ", cpus, re.MULTILINE)
    if accepted is not None:
        named = [name.strip() for name in accepted[1].split(",")]
    return tuple(named), tuple(re.findall(r"^  (\S+)\s+- ", features, re.MULTILINE))


@cache
def _host_architecture() -> str:
    return _architecture(resolve(Target()).triple or "")


def _architecture(triple: str) -> str:
    """Return the first part of a triple, aliases made one."""
    name = triple.partition("-")[0].replace("x86_64", "x86-64")
    return {"amd64": "x86-64", "arm64": "aarch64"}.get(name, name)


def _check_triple(triple: str) -> None:
    name = _architecture(triple)
    known = _architectures()
    if name in known or re.fullmatch(r"i[3-7]86|armv\d.*|thumbv\d.*", name):
        return
    raise CompileError(
        f"the compiler generates no code for {triple!r}",
        stage="target",
        got=f"target_triple={triple!r}",
        expected=f"<architecture>-<vendor>-<system>, the architecture one of {', '.join(known)}",
        fix=_did_you_mean(name, known),
    )


def _check_cpu(triple: str | None, cpu: str) -> None:
    cpus, _ = _machine_lists(triple)
    if cpus and cpu not in cpus:
        raise _unknown("CPU", cpu, ("host", "generic", *cpus))


def _check_features(triple: str | None, features: str) -> None:
    _, known = _machine_lists(triple)
    for feature in features.split(","):
        sign, name = feature[:1], feature[1:]
        if sign not in ("+", "-"):
            raise CompileError(
                f"the CPU feature {feature!r} is neither switched on nor off",
                stage="target",
                got=f"target_cpu_features={features!r}",
                expected="features with a sign, separated by commas: +avx2,-fma",
            )
        if known and name not in known:
            raise _unknown("CPU feature", name, known)


def _unknown(kind: str, name: str, known: Iterable[str]) -> CompileError:
    names = tuple(known)
    shown = ", ".join(names) if len(names) <= 16 else f"one of {len(names)} names"
    return CompileError(
        f"the compiler knows no {kind} {name!r}",
        stage="target",
        got=repr(name),
        expected=shown,
        fix=_did_you_mean(name, names),
    )


def _did_you_mean(name: str, known: Iterable[str]) -> str | None:
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f"did you mean {' or '.join(map(repr, close))}?" if close else None


def _probe(flags: Sequence[str]) -> Any:
    options = [*flags, "--compile-to=executable-sources", "-"]
    return run_iree("iree-compile", options, stdin=b"module {}", timeout=_PROBE_SECONDS)
