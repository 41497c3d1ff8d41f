# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Targets: what is known, what is not, and what was meant."""

from __future__ import annotations

import platform
from typing import Any

import pytest

from shark_turbine.compiler import Target, compile
from shark_turbine.compiler.targets import make_target, resolve
from shark_turbine.errors import CompileError

ON_X86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="x86-64 names")


@pytest.mark.parametrize(
    ("options", "message", "fix"),
    [
        ({"target_backends": ["llvm_cpu"]}, "no target backend 'llvm_cpu'", "'llvm-cpu'"),
        ({"target_backends": []}, "no target backend is given", None),
        ({"target_triple": "x86_46-linux-gnu"}, "no code for 'x86_46-linux-gnu'", "'x86-64'"),
        pytest.param({"target_cpu": "haswel"}, "no CPU 'haswel'", "'haswell'", marks=ON_X86),
        pytest.param(
            {"target_cpu_features": "+avx2,+avx512ff"},
            "no CPU feature 'avx512ff'",
            "'avx512f'",
            marks=ON_X86,
        ),
        ({"target_cpu_features": "avx2"}, "neither switched on nor off", None),
    ],
)
def test_mistakes(options: dict[str, Any], message: str, fix: str | None) -> None:
    with pytest.raises(CompileError) as caught:
        compile(b"module {}", **options)
    assert message in str(caught.value)
    assert caught.value.stage == "target"
    assert caught.value.fix is None if fix is None else fix in str(caught.value.fix)


def test_host_is_resolved() -> None:
    resolved = resolve(make_target("llvm-cpu"))
    assert resolved.cpu not in (None, "host", "generic")
    assert resolved.triple is not None
    assert resolved.triple.startswith(platform.machine())


@ON_X86
def test_named_cpu_lists_its_features(sum_module: bytes) -> None:
    vmfb = compile(sum_module, target_cpu="haswell", target_cpu_features="-fma")
    features = vmfb.target["cpu_features"].split(",")
    assert "+avx2" in features
    assert features[-1] == "-fma"
    assert vmfb.target["cpu"] == "haswell"


@ON_X86
def test_flags_that_choose_a_target_reach_the_manifest(sum_module: bytes) -> None:
    vmfb = compile(sum_module, flags=["--iree-llvmcpu-target-cpu=haswell"])
    assert vmfb.target["cpu"] == "haswell"
    assert "+avx2" in vmfb.target["cpu_features"]


@ON_X86
def test_foreign_triple_does_not_get_the_cpu_of_this_machine(sum_module: bytes) -> None:
    vmfb = compile(sum_module, target_triple="aarch64-linux-gnu")
    assert vmfb.target["cpu"] == "generic"
    assert vmfb.target["triple"].startswith("aarch64-")


def test_gpu_backends_take_no_cpu_flags() -> None:
    assert Target(("cuda",)).flags() == ("--iree-hal-target-backends=cuda",)
    assert Target(("llvm-cpu",)).flags() == (
        "--iree-hal-target-backends=llvm-cpu",
        "--iree-llvmcpu-target-cpu=host",
    )
