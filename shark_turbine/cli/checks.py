# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The checks of `doctor`. None fails for what it finds; what could crash runs in `smoke`, a child."""

from __future__ import annotations

import difflib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

import shark_turbine
from shark_turbine import cache_folder, versions

from .finding import OK, PROBLEM, WARNING, Finding
from .output import readable_size

_PREFIX = "SHARK_TURBINE_"
_VARIABLES = ("CACHE", "CACHE_DIR", "CACHE_SIZE", "COMPILE_WORKER")
# The same files under older names: whichever was installed last has overwritten the other's.
_OVERWRITING = {"iree-compiler": "iree-base-compiler", "iree-runtime": "iree-base-runtime"}
_SMOKE_SECONDS = 180.0
_LITTLE_DISK = 2**30


def findings() -> Iterator[Finding]:
    """Check everything."""
    yield _python()
    yield _system()
    yield from _packages()
    yield from _overwriting()
    yield _entry_point()
    yield from _smoke()
    yield from _cache()
    yield _temporary_folder()
    yield from _environment()


# ----------------------------------------------------------------------------------------- what is installed --


def _python() -> Finding:
    said = f"{platform.python_version()}, {sys.executable}"
    if sys.version_info >= (3, 11):  # noqa: UP036 (packages can be copied past pip's check)
        return Finding(OK, "python", said)
    return Finding(PROBLEM, "python", said, "install Python 3.11 or newer")


def _system() -> Finding:
    said = f"{platform.system()} {platform.release()}, {platform.machine()}"
    if (platform.system(), platform.machine()) == ("Linux", "x86_64"):
        return Finding(OK, "system", said)
    fix = "shark_turbine is tested on x86-64 Linux; what runs elsewhere, nobody has tried"
    return Finding(WARNING, "system", said, fix)


def _packages() -> Iterator[Finding]:
    """Compare what is installed with what this package asks for; the supported three in any case."""
    for name, supported in versions.SUPPORTED.items():
        yield _package(name, versions.installed(name), str(supported), supported)
    try:
        needed = importlib.metadata.requires("shark-turbine") or []
    except importlib.metadata.PackageNotFoundError:
        said = f"{shark_turbine.__version__}, runs from {Path(shark_turbine.__file__).parent}"
        fix = "python -m pip install -e . in its folder, so that torch.compile knows the backend"
        yield Finding(WARNING, "shark-turbine", f"{said}, and is not installed", fix)
        return
    yield Finding(OK, "shark-turbine", shark_turbine.__version__)
    others = (Requirement(line) for line in needed if "extra ==" not in line)
    for requirement in others:
        if requirement.name not in versions.SUPPORTED:
            version = versions.installed(requirement.name)
            found = _package(
                requirement.name, version, str(requirement.specifier), requirement.specifier
            )
            if found.verdict != OK:
                yield found


def _package(name: str, version: str | None, wanted: str, supported: Any) -> Finding:
    fix = f"python -m pip install '{name}{wanted}'"
    if version is None:
        return Finding(PROBLEM, name, f"not installed ({wanted} is needed)", fix)
    if version not in supported:
        return Finding(PROBLEM, name, f"{version} is not supported ({wanted} is)", fix)
    return Finding(OK, name, f"{version} ({wanted})")


def _overwriting() -> Iterator[Finding]:
    for old, new in _OVERWRITING.items():
        version = versions.installed(old)
        if version is not None:
            yield Finding(
                PROBLEM,
                old,
                f"{version} is installed beside {new}, into the same folder",
                f"python -m pip uninstall {old}; python -m pip install --force-reinstall {new}",
            )


def _entry_point() -> Finding:
    found = importlib.metadata.entry_points(group="torch_dynamo_backends", name="turbine_cpu")
    if found:
        return Finding(OK, "torch.compile", 'finds backend="turbine_cpu"')
    fix = "python -m pip install shark-turbine (again); or import shark_turbine.dynamo before"
    return Finding(WARNING, "torch.compile", 'does not find backend="turbine_cpu"', fix)


# -------------------------------------------------------------------------------------------- does it work? --


def _smoke() -> Iterator[Finding]:
    """Have a child import, compile and run, and say what it found, or what it died of."""
    command = [sys.executable, "-m", "shark_turbine.cli.smoke"]
    try:
        child = subprocess.run(
            command, capture_output=True, text=True, timeout=_SMOKE_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        yield Finding(
            PROBLEM, "self-test", f"it did not end: {error}", "look for a hanging process"
        )
        return
    lines = [line for line in child.stdout.splitlines() if line.startswith("{")]
    told = [Finding(**json.loads(line)) for line in lines]
    yield from told
    if child.returncode == 0:
        return
    last = (child.stderr.strip().splitlines() or ["it said nothing"])[-1]
    status = f"signal {-child.returncode}" if child.returncode < 0 else f"code {child.returncode}"
    yield Finding(
        PROBLEM,
        "self-test",
        f"it ended with {status} after {told[-1].about if told else 'nothing'}: {last}",
        f"{' '.join(command)} shows all that it says",
    )


# --------------------------------------------------------------------------------------------------- around it --


def _cache() -> Iterator[Finding]:
    folder = cache_folder.find_folder()
    if folder is None:
        yield Finding(OK, "cache", "off: SHARK_TURBINE_CACHE is set so")
        return
    kept = list(cache_folder.files(folder / "vmfb"))
    limit = cache_folder.size_limit()
    size = sum(size for _, size, _ in kept)
    said = (
        f"{folder}, {len(kept)} vmfb{'s' * (len(kept) != 1)}, "
        f"{readable_size(size)} of at most {readable_size(limit)}"
    )
    above = next((each for each in (folder, *folder.parents) if each.exists()), folder)
    if not (above.is_dir() and os.access(above, os.W_OK | os.X_OK)):
        fix = "set SHARK_TURBINE_CACHE_DIR to a folder of yours, or SHARK_TURBINE_CACHE=0"
        yield Finding(WARNING, "cache", f"{said}; it cannot be written", fix)
        return
    free = shutil.disk_usage(above).free
    if free < min(limit - size, _LITTLE_DISK):
        fix = "make room, or set SHARK_TURBINE_CACHE_SIZE lower"
        yield Finding(WARNING, "cache", f"{said}; the disk has {readable_size(free)} left", fix)
        return
    yield Finding(OK, "cache", f"{said}; the disk has {readable_size(free)} free")


def _temporary_folder() -> Finding:
    """Look at where the compiler writes while it works."""
    try:
        folder = tempfile.gettempdir()
    except FileNotFoundError as error:
        return Finding(PROBLEM, "temporary folder", f"there is none: {error}", "set TMPDIR")
    free = shutil.disk_usage(folder).free
    said = f"{folder}, {readable_size(free)} free"
    if free < _LITTLE_DISK:
        fix = "make room, or set TMPDIR: a large program needs its own size there"
        return Finding(WARNING, "temporary folder", said, fix)
    return Finding(OK, "temporary folder", said)


def _environment() -> Iterator[Finding]:
    """Show the variables that are ours, or look so."""
    found = {name: value for name, value in sorted(os.environ.items()) if name.startswith(_PREFIX)}
    known = [_PREFIX + name for name in _VARIABLES]
    if not found:
        yield Finding(OK, "environment", f"no variable {_PREFIX}... is set")
    for name, value in found.items():
        if name in known:
            yield Finding(OK, "environment", f"{name}={value}")
            continue
        close = difflib.get_close_matches(name, known, n=1)
        fix = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
        yield Finding(WARNING, "environment", f"{name}={value} means nothing", fix)
