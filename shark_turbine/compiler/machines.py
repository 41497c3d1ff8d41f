# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Named targets: one table of what the compiler is told about each machine."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from shark_turbine.errors import CompileError

from .targets import CPU_BACKEND

# The newest CUDA architecture that the compiler has a description of. Its PTX runs on later ones, for
# which the driver translates it.
_NEWEST_CUDA = 89


@dataclass(frozen=True, slots=True)
class Machine:
    """A named target.

    Attributes:
        backend: IREE's name of it.
        triple: LLVM's words for architecture and system; None is this machine's.
        cpu: a CPU in LLVM's words.
        cpu_features: features in LLVM's words, with signs.
        flags: what the backend wants to be told beside them.
        note: what it is, for people.
    """

    backend: str
    triple: str | None = None
    cpu: str | None = None
    cpu_features: str | None = None
    flags: tuple[str, ...] = ()
    note: str = ""


def _cpu(triple: str, cpu: str, note: str, features: str | None = None, abi: str = "") -> Machine:
    flags = (f"--iree-llvmcpu-target-abi={abi}",) if abi else ()
    return Machine(CPU_BACKEND, triple, cpu, features, flags, note)


_LINUX_X86 = "x86_64-unknown-linux-gnu"

MACHINES: dict[str, Machine] = {
    "host": Machine(CPU_BACKEND, cpu="host", note="this machine, with all that its CPU can do"),
    "x86-64-v3": _cpu(_LINUX_X86, "x86-64-v3", "AVX2 and FMA: Intel since 2013, AMD since 2015"),
    "x86-64-v4": _cpu(_LINUX_X86, "x86-64-v4", "AVX-512: servers since 2017, AMD since Zen 4"),
    "aarch64-linux": _cpu("aarch64-unknown-linux-gnu", "generic", "any 64-bit Arm"),
    "aarch64-android": _cpu("aarch64-none-linux-android29", "generic", "Android 10 and later"),
    "riscv64-linux": _cpu(
        "riscv64-unknown-linux-gnu",
        "generic-rv64",
        "RV64GCV",
        "+m,+a,+f,+d,+c,+v,+zvl128b",
        "lp64d",
    ),
    "wasm32": _cpu("wasm32-unknown-emscripten", "generic", "WebAssembly with SIMD", "+simd128"),
    "windows-x86-64": _cpu("x86_64-pc-windows-msvc", "x86-64-v3", "as x86-64-v3"),
    "macos-arm64": _cpu("arm64-apple-macos11", "apple-m1", "Apple silicon"),
    "vulkan": Machine("vulkan-spirv", note="GPUs with Vulkan; vulkan:<name> for one of them"),
    "cuda": Machine("cuda", flags=("--iree-cuda-target=sm_80",), note="NVIDIA; cuda:sm_90"),
    "rocm": Machine("rocm", flags=("--iree-rocm-target=gfx942",), note="AMD; rocm:gfx1100"),
    "metal": Machine("metal-spirv", note="GPUs of Apple silicon"),
    "vmvx": Machine("vmvx", note="any machine, interpreted: slow"),
}

# What follows the colon of a name goes to these options.
_CHIP_OPTIONS = {
    "cuda": "--iree-cuda-target",
    "rocm": "--iree-rocm-target",
    "vulkan": "--iree-vulkan-target",
}

# The CPU of code that is to run on any machine of an architecture that people still have.
PORTABLE_CPUS = {"x86_64": "x86-64-v3", "AMD64": "x86-64-v3"}


def find_machine(name: str) -> Machine:
    """Return a target by its name, such as `aarch64-linux` or `cuda:sm_90`.

    Raises:
        CompileError: there is none of that name.
    """
    kind, colon, chip = name.partition(":")
    machine = MACHINES.get(kind)
    if machine is None or (colon and (not chip or kind not in _CHIP_OPTIONS)):
        close = difflib.get_close_matches(name, list(MACHINES), n=1)
        raise CompileError(
            "there is no target of that name",
            stage="target",
            got=f"target={name!r}",
            expected=", ".join([*MACHINES, *(f"{kind}:<chip>" for kind in _CHIP_OPTIONS)]),
            fix=f"did you mean {close[0]!r}?"
            if close
            else "give target_backends=, target_triple= and target_cpu= instead",
        )
    if not colon:
        return machine
    return Machine(machine.backend, flags=(f"{_CHIP_OPTIONS[kind]}={_known(kind, chip)}",))


def _known(kind: str, chip: str) -> str:
    digits = chip.removeprefix("sm_").rstrip("a")
    if kind == "cuda" and digits.isdecimal() and int(digits) > _NEWEST_CUDA:
        return f"sm_{_NEWEST_CUDA}"
    return chip
