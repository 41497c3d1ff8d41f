# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The self-test of `doctor`, a program of its own: what crashes here is a finding of its parent.

    python -m shark_turbine.cli.smoke

prints a finding as JSON in each line, and exits with 0 when it came to its end.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib import import_module
from typing import Any

from .finding import OK, PROBLEM, WARNING, Finding
from .output import readable_time

_PROGRAM = """
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = arith.addf %x, %x : tensor<4xf32>
  return %0 : tensor<4xf32>
}
"""
_CALLS = 100
# Without these IREE's code is a fraction as fast.
_WANTED = {"x86_64": ("avx2", "fma")}
_TOLD = {
    "x86_64": ("avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile"),
    "aarch64": ("asimd", "asimddp", "asimdhp", "i8mm", "bf16", "sve", "sve2"),
}


def main() -> None:
    """Test one thing after the other, and nothing that needs what does not work."""
    imported = _try("import torch", _import_torch)
    _tell(imported)
    if imported.verdict == PROBLEM:
        return
    vmfb: list[Any] = []
    _tell(_try("compiler", lambda: _compile(vmfb)))
    _tell(_try("devices", _devices))
    if vmfb:
        _tell(_try("runtime", lambda: _run(vmfb[0])))
    for finding in _machine():
        _tell(finding)


def _tell(finding: Finding) -> None:
    print(json.dumps(asdict(finding)), flush=True)


def _try(about: str, test: Callable[[], Finding]) -> Finding:
    try:
        return test()
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        fix = getattr(error, "fix", None) or _REINSTALL.get(about)
        return Finding(PROBLEM, about, said.partition("\n")[0], None if fix is None else str(fix))


_REINSTALL = {
    "import torch": "python -m pip install --force-reinstall 'torch>=2.13,<2.14'",
    "compiler": "python -m pip install --force-reinstall 'iree-base-compiler>=3.13,<3.14'",
    "runtime": "python -m pip install --force-reinstall 'iree-base-runtime>=3.13,<3.14'",
    "devices": "python -m pip install --force-reinstall 'iree-base-runtime>=3.13,<3.14'",
}


def _import_torch() -> Finding:
    start = time.perf_counter()
    torch = import_module("torch")
    taken = readable_time(time.perf_counter() - start)
    return Finding(OK, "import torch", f"{torch.__version__}, in {taken}")


def _compile(vmfb: list[Any]) -> Finding:
    compiler = import_module("shark_turbine.compiler")
    start = time.perf_counter()
    vmfb.append(compiler.compile(_PROGRAM))
    taken = readable_time(time.perf_counter() - start)
    target = vmfb[0].target
    said = f"compiles a small program for this CPU ({target.get('cpu')}) in {taken}"
    return Finding(OK, "compiler", said)


def _run(vmfb: Any) -> Finding:
    runtime, numpy = import_module("shark_turbine.runtime"), import_module("numpy")
    main = runtime.load(vmfb).main
    ones = numpy.ones(4, numpy.float32)
    result = main(ones)
    start = time.perf_counter()
    for _ in range(_CALLS):
        main(ones)
    taken = readable_time((time.perf_counter() - start) / _CALLS)
    if result.tolist() != [2.0] * 4:
        said = f"1 + 1 is {result.tolist()} here"
        return Finding(PROBLEM, "runtime", said, _REINSTALL["runtime"])
    return Finding(OK, "runtime", f"runs it with the right result, in {taken} a call")


def _devices() -> Finding:
    drivers = import_module("shark_turbine.runtime.devices").drivers()
    return Finding(OK, "devices", f"the runtime has drivers for {', '.join(drivers)}")


def _machine() -> Iterator[Finding]:
    machine = import_module("shark_turbine.runtime.machine")
    architecture = platform.machine()
    flags = machine.cpu_flags(architecture)
    cores, usable = os.cpu_count() or 1, len(os.sched_getaffinity(0))
    said = f"{machine.cpu_model() or architecture}, {usable} of {cores} logical cores usable"
    yield Finding(OK, "cpu", said)
    if flags is None:
        return
    told = ", ".join(name for name in _TOLD.get(architecture, ()) if name in flags)
    missing = [name for name in _WANTED.get(architecture, ()) if name not in flags]
    if missing:
        said = f"{told or 'none of note'}; {', '.join(missing)} missing: compiled code will be slow"
        yield Finding(
            WARNING, "cpu features", said, "use a CPU of the last ten years, or its VM setting"
        )
        return
    yield Finding(OK, "cpu features", told)


if __name__ == "__main__":
    main()
