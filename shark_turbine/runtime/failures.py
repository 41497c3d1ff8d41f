# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What IREE says, in one line that a user can act on.

IREE's messages look like `Error invoking function: <file>:<line>: STATUS; message; while ...; \\n[ 0]
bytecode module...`, and an assertion inside the artifact is a FAILED_PRECONDITION with our text.
"""

from __future__ import annotations

import re
from typing import Any

from ..errors import ContractError, ExecutionError, IndexContractError, LoadError, TurbineError

_STATUS = re.compile(r"(?:^|[:;]\s)(?P<status>[A-Z][A-Z_]{4,})(?:; (?P<text>.*))?$", re.DOTALL)
_TRAIL = re.compile(
    r"(;\s*(while (invoking (native )?function|calling (variadic )?import)[^;]*)?)*\s*$", re.DOTALL
)

# IREE's names for the devices of GPUs, as a vmfb asks for them and as its runtime takes them.
GPUS = ("cuda", "hip", "metal", "vulkan")
_GPU = re.compile(rf'#hal\.device\.target<"(?P<device>{"|".join(GPUS)})"')


def split(error: BaseException) -> tuple[str, str]:
    """Return IREE's status, such as `FAILED_PRECONDITION`, and the message in one line."""
    text = str(error).split("\n[ ", 1)[0]
    found = _STATUS.search(text)
    if found is None:
        return "", " ".join(text.split())
    message = _TRAIL.sub("", found["text"] or "")
    return found["status"], " ".join(message.split())


def from_call(error: BaseException, where: str) -> TurbineError:
    """Translate what a call of a function raised."""
    status, message = split(error)
    if status == "FAILED_PRECONDITION":
        kind = IndexContractError if "index out of range" in message else ContractError
        return kind(message)
    name = status.lower().replace("_", " ") or type(error).__name__
    return ExecutionError(
        f"the call failed: {message or name}", where=where, got=name if message else None
    )


def from_load(
    error: BaseException, origin: str, manifest: dict[str, Any] | None, installed: str
) -> LoadError:
    """Translate what mapping a vmfb or initializing its module raised."""
    _, message = split(error)
    versions: dict[str, str] = (manifest or {}).get("versions") or {}
    made_by = versions.get("iree_compiler")
    if "bytecode version" in message or ("version" in message and "mismatch" in message):
        return LoadError(
            "the vmfb was compiled for another version of IREE",
            where=origin,
            got=f"compiled with iree-base-compiler {made_by}" if made_by else message,
            expected=f"what iree-base-runtime {installed} runs",
            fix=f"compile it again, or: python -m pip install 'iree-base-runtime=={made_by or '<its version>'}'",
        )
    if "HAL device" in message and "not found" in message:
        gpu = _GPU.search(message)
        if gpu is not None:
            return _needs_a_gpu(gpu["device"], origin)
        return LoadError(
            "the vmfb holds no code for this machine or device",
            where=origin,
            got=_targets(message),
            expected="code for the CPU that this process runs on",
            fix="compile it again on this machine, or with its target_triple",
        )
    if "parameter" in message.lower():
        return LoadError(
            "the module needs parameters from outside",
            where=origin,
            got=message,
            fix='load(..., parameters={"model": "weights.safetensors"})',
        )
    if "constants exceeds limit" in message:
        return LoadError(
            "a loop of the vmfb takes more sizes than IREE's runtime passes to one",
            where=origin,
            got=message,
            fix="export it with fewer dynamic dims in one function, or compile it with recipe='none'",
        )
    return LoadError(f"IREE refused it: {message[:300]}", where=origin, fix="compile it again")


def _needs_a_gpu(device: str, origin: str) -> LoadError:
    return LoadError(
        "the vmfb holds code for a GPU, and shark_turbine.runtime runs code for CPUs only",
        where=origin,
        got=f"code for {device}",
        expected="code for the CPU that this process runs on",
        fix=f"compile it for this CPU, without target=; or {on_a_gpu(device)}",
    )


def on_a_gpu(device: str) -> str:
    """Return how a user runs a vmfb on one of IREE's devices for GPUs."""
    return (
        f'run it where the GPU is: iree.runtime.Config("{device}") in Python, '
        f"or iree-run-module --device={device}"
    )


def _targets(message: str) -> str:
    found = re.findall(r'"((?:embedded-elf|system-elf|vmvx)[\w-]*)"', message)
    return ", ".join(sorted(set(found))) or message[:200]
