# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The name of a compilation: a checksum of everything that goes into it."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import re
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

from shark_turbine import __version__, ir
from shark_turbine.versions import installed

from . import inputs
from .driver import producing_versions
from .facts import ModuleFacts, facts
from .options import Options, compiler_flags, recipe_of
from .targets import Target

# Elements of the weights of modules that are kept.
_MOST_STORED, _MOST_EXTERNAL = 2**25, 2**28
# Part of every key: entries of another layout are not found, and go when they are the oldest.
_LAYOUT = 2

# Options that read or write further files, or print: the key does not know what those files hold,
# and a hit would neither write nor print.
_REACHES_OUT = re.compile(r"^@|/|dump|save|export|parameters|file|path|print|trace|timing|statist")
# What names object files in a module; the compiler reads them.
_OBJECT_FILES = b"hal.executable.object"
# The lines of /proc/cpuinfo that are the same on each equal machine, today and tomorrow.
_CPU_LINES = re.compile(
    r"^(?:vendor_id|cpu family|model|model name|stepping|flags"
    r"|CPU (?:implementer|architecture|variant|part|revision)|Features|isa|uarch)\s*:.*$",
    re.MULTILINE,
)


def key_of(module: Any, options: Options, found: ModuleFacts | None = None) -> tuple[str, bool]:
    """Return the name of a compilation, and whether it says everything that goes into it.

    `found` are the module's facts, where somebody has looked for them already.
    It does not where weights are so large that to look at them costs more than to compile again.
    """
    backends = options.target_backends
    target = Target(
        (backends,) if isinstance(backends, str) else tuple(backends),
        options.target_triple,
        options.target_cpu,
        options.target_cpu_features,
    )
    found = found or facts(module)
    if found.stored_weights > _MOST_STORED or found.external_weights > _MOST_EXTERNAL:
        return "", False
    # What the CPU has follows from the target and the machine; to ask the compiler takes too long here.
    recipe = recipe_of(options, target, found, cpu_features=None)
    flags = compiler_flags(options, target, found, recipe)
    told = {field.name: getattr(options, field.name) for field in fields(Options)}
    # They decide whether there is an artifact and what is said of it if not, not which one it is.
    del told["timeout"], told["diagnose"]
    told["parameters"] = None if options.parameters is None else options.parameters()
    told["recipe"] = recipe.to_json()
    told["signatures"] = [signature.to_json() for signature in options.signatures]
    told["state"] = options.state and [entry.to_json() for entry in options.state]
    program, names_files = _digest(module)
    torch_mlir = installed("torch-mlir") if options.lowering == "torch-mlir" else None
    names_cpu = any(flag.startswith("--iree-llvmcpu-target-cpu=") for flag in flags)
    is_portable = names_cpu and not any("host" in flag for flag in flags)
    parts = {
        "layout": _LAYOUT,
        "source": _source(),
        "program": program,
        "flags": flags,
        "options": told,
        "versions": [__version__, producing_versions(), torch_mlir],
        "machine": os.uname().machine if is_portable else machine(),
    }
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    # The checksum leaves locations out.
    keeps_lines = "--iree-vm-bytecode-module-strip-source-map=false" in flags
    is_complete = not names_files and not keeps_lines
    return key, is_complete and not any(map(_reaches_out, (*recipe.flags, *options.flags)))


@cache
def _source() -> str:
    """Return a checksum of what writes a module anew and chooses its options: the files of this package."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def program_digest(module: Any) -> str:
    """Return a checksum of a module's operations and weights, whatever lines they come from."""
    return _digest(module)[0]


def _digest(module: Any) -> tuple[str, bool]:
    """Return the checksum of a module without its locations, and whether it names object files."""
    # Weights are shared with the clone. `ip=False`: it is not to appear where the caller inserts.
    clone = module.operation.clone(ip=False)
    manager = ir.PassManager.parse("any(strip-debuginfo)", module.context)
    manager.enable_verifier(False)
    manager.run(clone)
    with (
        inputs.as_file(clone) as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as bytecode,
    ):
        return hashlib.sha256(bytecode).hexdigest(), bytecode.find(_OBJECT_FILES) >= 0


def _reaches_out(flag: str) -> bool:
    return bool(_REACHES_OUT.search(flag)) or any(map(os.path.exists, re.split("[=,]", flag)))


@cache
def machine() -> str:
    """Return a fingerprint of this machine's CPU: what the compiler makes of `host` follows from it."""
    system = os.uname()
    try:
        lines = sorted(set(_CPU_LINES.findall(Path("/proc/cpuinfo").read_text(errors="replace"))))
    except OSError:
        lines = []
    # A machine that does not say what it is is like no other.
    text = "\n".join([system.sysname, system.machine, *(lines or [system.nodename])])
    return hashlib.sha256(text.encode()).hexdigest()
