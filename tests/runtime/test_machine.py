# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""CPU features: LLVM's names against the kernel's."""

from __future__ import annotations

import platform
import re
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

import shark_turbine.runtime as rt
from shark_turbine.errors import LoadError
from shark_turbine.runtime import machine

HASWELL = frozenset(
    [
        "fpu",
        "cx8",
        "cmov",
        "mmx",
        "fxsr",
        "sse",
        "sse2",
        "lm",
        "pni",
        "pclmulqdq",
        "ssse3",
        "fma",
        "cx16",
        "sse4_1",
        "sse4_2",
        "movbe",
        "popcnt",
        "aes",
        "xsave",
        "avx",
        "f16c",
        "rdrand",
        "lahf_lm",
        "abm",
        "fsgsbase",
        "bmi1",
        "avx2",
        "bmi2",
        "xsaveopt",
    ]
)


@pytest.mark.parametrize(
    ("features", "missing"),
    [
        ("", []),
        (
            "+64bit,+x87,+cx8,+cmov,+mmx,+fxsr,+sse,+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+crc32,+cx16,"
            "+sahf,+lzcnt,+popcnt,+movbe,+bmi,+bmi2,+pclmul,+aes,+avx,+avx2,+fma,+f16c,+rdrnd,"
            "+xsave,+xsaveopt,+fsgsbase",
            [],
        ),
        ("+avx2,+avx512f,+avx512vnni", ["avx512f", "avx512vnni"]),
        ("+avx512bf16,+avx512fp16,+amx-tile,+amx-int8,+rdpid,+sha,+gfni,+xsavec", None),
        ("+avx512f,-avx512f", []),
        ("-avx512f,+avx512f", ["avx512f"]),
        ("+shstk,+pku,+invpcid,+wbnoinvd,+prfchw,+mwaitx", []),
        ("+fast-gather,+slow-3ops-lea,+prefer-256-bit,+evex512,+no-such-thing", []),
        ("avx512f,,+, ", []),
    ],
)
def test_x86(features: str, missing: list[str] | None) -> None:
    found = machine.missing_features(features, "x86_64", HASWELL)
    assert found == (re.findall(r"\+([\w.-]+)", features) if missing is None else missing)


def test_aarch64() -> None:
    flags = frozenset(
        ["fp", "asimd", "aes", "crc32", "atomics", "asimdhp", "asimdrdm", "asimddp", "i8mm", "bf16"]
    )
    features = "+fp-armv8,+neon,+aes,+crc,+lse,+fullfp16,+rdm,+dotprod,+i8mm,+bf16,+sve,+v8.2a"
    assert machine.missing_features(features, "aarch64", flags) == ["sve"]


def test_unknown_machines_are_not_judged() -> None:
    assert machine.missing_features("+avx512f", "riscv64", None) == []
    assert machine.missing_features("+avx512f", "x86_64", None) == []


@pytest.mark.skipif(platform.machine() != "x86_64", reason="reads x86 flags")
def test_what_the_compiler_calls_host_is_not_refused_here() -> None:
    """The kernel's names of everything that this machine has lead back to no missing feature."""
    flags = machine.cpu_flags("x86_64")
    assert flags is not None
    known = [name for name, flag in machine._X86.items() if flag in flags]
    assert "sse2" in known
    assert machine.missing_features(",".join(f"+{name}" for name in known), "x86_64", flags) == []


def refused(path: Path) -> str:
    with pytest.raises(LoadError) as caught:
        rt.load(path, device="local-sync")
    return str(caught.value).replace(str(path), "m.vmfb")


MLIR = "func.func @f(%a: tensor<4xf32>) -> tensor<4xf32> { return %a : tensor<4xf32> }"


def test_a_richer_cpu(build: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cpu_flags", lambda _: HASWELL)
    monkeypatch.setattr(machine, "cpu_model", lambda: "Old CPU")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    target = {"backends": ["llvm-cpu"], "triple": "x86_64-unknown-linux-gnu", "cpu": "znver4"}
    path = build(MLIR, target={**target, "cpu_features": "+avx2,+avx512f,+avx512bf16,+shstk"})
    expected = """
    m.vmfb: the vmfb needs CPU features that this machine lacks
      got:      compiled for znver4, which has avx512f, avx512bf16
      expected: code for this machine (x86_64, Old CPU)
      fix:      compile it here with target_cpu='host', or with target_cpu='generic' for any machine
    """
    assert refused(path) == textwrap.dedent(expected).strip()


def test_another_architecture(build: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    path = build(MLIR, target={"triple": "x86_64-linux-gnu", "cpu": "", "cpu_features": None})
    expected = """
    m.vmfb: the vmfb was compiled for another kind of machine
      got:      x86_64 (x86_64-linux-gnu)
      expected: aarch64
      fix:      compile it here, or with target_triple='aarch64-unknown-linux-gnu'
    """
    assert refused(path) == textwrap.dedent(expected).strip()
