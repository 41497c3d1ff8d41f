# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Can this machine run the artifact? Asked before loading: the answer "no" would otherwise be SIGILL."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import LoadError

# LLVM's name of a feature that generated code may use -> its flag in /proc/cpuinfo. Names that are
# absent here (tuning hints, privileged and control-flow-protection instructions such as `shstk`,
# `pku`, `invpcid`, `wbnoinvd`) never appear in generated code and need no check.
_X86 = {
    "64bit": "lm",
    "adx": "adx",
    "aes": "aes",
    "amx-bf16": "amx_bf16",
    "amx-complex": "amx_complex",
    "amx-fp16": "amx_fp16",
    "amx-int8": "amx_int8",
    "amx-tile": "amx_tile",
    "avx": "avx",
    "avx2": "avx2",
    "avx512bf16": "avx512_bf16",
    "avx512bitalg": "avx512_bitalg",
    "avx512bw": "avx512bw",
    "avx512cd": "avx512cd",
    "avx512dq": "avx512dq",
    "avx512er": "avx512er",
    "avx512f": "avx512f",
    "avx512fp16": "avx512_fp16",
    "avx512ifma": "avx512ifma",
    "avx512pf": "avx512pf",
    "avx512vbmi": "avx512vbmi",
    "avx512vbmi2": "avx512_vbmi2",
    "avx512vl": "avx512vl",
    "avx512vnni": "avx512_vnni",
    "avx512vp2intersect": "avx512_vp2intersect",
    "avx512vpopcntdq": "avx512_vpopcntdq",
    "avxifma": "avx_ifma",
    "avxneconvert": "avx_ne_convert",
    "avxvnni": "avx_vnni",
    "avxvnniint16": "avx_vnni_int16",
    "avxvnniint8": "avx_vnni_int8",
    "bmi": "bmi1",
    "bmi2": "bmi2",
    "cldemote": "cldemote",
    "clflushopt": "clflushopt",
    "clwb": "clwb",
    "clzero": "clzero",
    "cmov": "cmov",
    "crc32": "sse4_2",
    "cx16": "cx16",
    "cx8": "cx8",
    "f16c": "f16c",
    "fma": "fma",
    "fma4": "fma4",
    "fsgsbase": "fsgsbase",
    "fxsr": "fxsr",
    "gfni": "gfni",
    "lwp": "lwp",
    "lzcnt": "abm",
    "mmx": "mmx",
    "movbe": "movbe",
    "movdir64b": "movdir64b",
    "movdiri": "movdiri",
    "pclmul": "pclmulqdq",
    "popcnt": "popcnt",
    "rdpid": "rdpid",
    "rdrnd": "rdrand",
    "rdseed": "rdseed",
    "sahf": "lahf_lm",
    "serialize": "serialize",
    "sha": "sha_ni",
    "sha512": "sha512",
    "sm3": "sm3",
    "sm4": "sm4",
    "sse": "sse",
    "sse2": "sse2",
    "sse3": "pni",
    "sse4.1": "sse4_1",
    "sse4.2": "sse4_2",
    "sse4a": "sse4a",
    "ssse3": "ssse3",
    "tbm": "tbm",
    "vaes": "vaes",
    "vpclmulqdq": "vpclmulqdq",
    "x87": "fpu",
    "xop": "xop",
    "xsave": "xsave",
    "xsavec": "xsavec",
    "xsaveopt": "xsaveopt",
    "xsaves": "xsaves",
}
_AARCH64 = {
    "aes": "aes",
    "bf16": "bf16",
    "complxnum": "fcma",
    "crc": "crc32",
    "dotprod": "asimddp",
    "f32mm": "svef32mm",
    "f64mm": "svef64mm",
    "flagm": "flagm",
    "fp-armv8": "fp",
    "fp16fml": "asimdfhm",
    "fptoint": "frint",
    "fullfp16": "asimdhp",
    "i8mm": "i8mm",
    "jsconv": "jscvt",
    "lse": "atomics",
    "neon": "asimd",
    "rcpc": "lrcpc",
    "rdm": "asimdrdm",
    "reliable-fp16": "asimdhp",
    "sha2": "sha2",
    "sha3": "sha3",
    "sm4": "sm4",
    "sme": "sme",
    "sme2": "sme2",
    "sve": "sve",
    "sve2": "sve2",
    "sve2-aes": "sveaes",
    "sve2-bitperm": "svebitperm",
    "sve2-sha3": "svesha3",
    "sve2-sm4": "svesm4",
}
_FLAGS = {"x86_64": ("flags", _X86), "aarch64": ("Features", _AARCH64)}
_KNOWN_MACHINES = frozenset({"x86_64", "aarch64", "riscv64", "riscv32", "arm", "i686"})
_SAME_MACHINE = {"amd64": "x86_64", "x86-64": "x86_64", "arm64": "aarch64"}


def refuse_foreign(origin: str, manifest: dict[str, Any] | None) -> None:
    """Raise LoadError where the artifact's target is another architecture or a richer CPU."""
    target: dict[str, Any] = (manifest or {}).get("target") or {}
    here = _architecture(platform.machine())
    triple = target.get("triple")
    there = _architecture(str(triple).split("-", 1)[0]) if triple else None
    if there in _KNOWN_MACHINES and there != here:
        raise LoadError(
            "the vmfb was compiled for another kind of machine",
            where=origin,
            got=f"{there} ({triple})",
            expected=here,
            fix=f"compile it here, or with target_triple='{here}-unknown-linux-gnu'",
        )
    missing = missing_features(str(target.get("cpu_features") or ""), here, cpu_flags(here))
    if missing:
        raise LoadError(
            "the vmfb needs CPU features that this machine lacks",
            where=origin,
            got=f"compiled for {target.get('cpu') or 'a CPU'}, which has {', '.join(missing)}",
            expected=f"code for this machine ({here}, {cpu_model() or 'unknown CPU'})",
            fix="compile it here with target_cpu='host', or with target_cpu='generic' for any machine",
        )


def missing_features(features: str, architecture: str, flags: frozenset[str] | None) -> list[str]:
    """Return the LLVM features (`+avx2,-fma,...`) in use that `flags` of /proc/cpuinfo lack.

    A later token overrules an earlier one. Nothing is missing where the flags are unknown (None).
    """
    if flags is None or architecture not in _FLAGS:
        return []
    enabled: dict[str, bool] = {}
    for token in features.split(","):
        token = token.strip()
        if token[:1] in "+-" and len(token) > 1:
            enabled[token[1:]] = token[0] == "+"
    names = _FLAGS[architecture][1]
    wanted = (name for name, is_on in enabled.items() if is_on and name in names)
    return [name for name in wanted if names[name] not in flags]


@cache
def cpu_flags(architecture: str) -> frozenset[str] | None:
    """Return the CPU's flags; None where this system does not tell."""
    if architecture not in _FLAGS:
        return None
    line = _cpuinfo(_FLAGS[architecture][0])
    return None if line is None else frozenset(line.split())


def cpu_model() -> str | None:
    """Return the CPU's name, None where this system does not tell."""
    return _cpuinfo("model name")


def _cpuinfo(key: str) -> str | None:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return None
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon and name.strip() == key:
            return value.strip()
    return None


def _architecture(name: str) -> str:
    return _SAME_MACHINE.get(name.lower(), name.lower())
