# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`compile_cached`: vmfbs kept on disk by what they were compiled from.

The cache folder (`shark_turbine/cache_folder.py`) holds `vmfb/<key>.vmfb`, an artifact and its checksum
behind it. The environment variable `SHARK_TURBINE_CACHE_SIZE` says how much is kept, such as `500MB` or
`4GiB`, the default.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import IO, Any

from shark_turbine import __version__, ir
from shark_turbine.cache_folder import alone, remember, remembered, warn_of_folder, warn_once, write
from shark_turbine.cache_folder import folder as cache_folder
from shark_turbine.files import check_target
from shark_turbine.versions import installed

from . import inputs
from .driver import Options, ask_target, build, compiler_flags, producing_versions
from .targets import ResolvedTarget, Target
from .vmfb import Vmfb

# Part of every key: entries of another layout are not found, and go when they are the oldest.
_LAYOUT = 1
_CHECKSUM_BYTES = 32
# As in `Vmfb.open`: what others can reach is copied up to this size, and mapped above it.
_COPY_LIMIT = 64 * 2**20
_DEFAULT_SIZE = 4 * 2**30
_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?) *(?P<unit>[kmgt]?)(?P<binary>i?)b?", re.IGNORECASE)
_DAY = 24 * 3600.0

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


@dataclass(frozen=True, slots=True)
class Outcome:
    """What `compile_cached` did: `path` is the entry in the cache, None where nothing was kept.

    `key` is empty where the cache is off. An entry is a vmfb with a checksum behind its end.
    """

    hit: bool
    key: str
    seconds: float
    path: Path | None


def compile_cached(
    module: Any, *, save_to: str | os.PathLike[str] | None = None, **options: Any
) -> tuple[Vmfb, Outcome]:
    """Compile a module, or take the artifact of an equal compilation from the disk.

    Equal are the operations, whatever lines they come from; the options, which are those of
    `compile`, but for `timeout` and `diagnose`; the versions; and the CPU, where code is for the `host`. A hit
    starts no process. Processes that need the same program at once compile it once. Where the folder
    cannot be used, a warning says so once, and modules are compiled without it. What is compiled
    with options that read or write further files is not kept.

    Raises:
        CompileError, SaveError: as `compile`.
    """
    start = time.perf_counter()
    if save_to is not None:
        check_target(Path(save_to))
    request = Options(**options)
    module = inputs.load(module)
    folder = cache_folder()
    key, is_complete = ("", False) if folder is None else _key(module, request)
    if folder is None or not is_complete:
        hit, path, vmfb = False, None, _build(module, request)
    else:
        hit, path, vmfb = _find_or_build(folder / "vmfb" / f"{key}.vmfb", module, request)
    if save_to is not None:
        vmfb.save(save_to)
    return vmfb, Outcome(hit, key, time.perf_counter() - start, path)


def _find_or_build(entry: Path, module: Any, options: Options) -> tuple[bool, Path | None, Vmfb]:
    found = _find(entry)
    if found is not None:
        return True, entry, found
    with alone(entry, options.timeout):
        # Whoever held the lock before may have compiled it.
        found = _find(entry)
        if found is not None:
            return True, entry, found
        vmfb = _build(module, options)
        return False, entry if _keep(entry, vmfb) else None, vmfb


def _key(module: Any, options: Options) -> tuple[str, bool]:
    """Return the name of a compilation, and whether it says everything that goes into it."""
    backends = options.target_backends
    target = Target(
        (backends,) if isinstance(backends, str) else tuple(backends),
        options.target_triple,
        options.target_cpu,
        options.target_cpu_features,
    )
    flags = compiler_flags(options, target, inputs.facts(module))
    told = {field.name: getattr(options, field.name) for field in fields(Options)}
    # They decide whether there is an artifact and what is said of it if not, not which one it is.
    del told["timeout"], told["diagnose"]
    told["signatures"] = [signature.to_json() for signature in options.signatures]
    told["parameters"] = None if options.parameters is None else options.parameters()
    program, names_files = _digest(module)
    torch_mlir = installed("torch-mlir") if options.lowering == "torch-mlir" else None
    names_cpu = any(flag.startswith("--iree-llvmcpu-target-cpu=") for flag in flags)
    is_portable = names_cpu and not any("host" in flag for flag in flags)
    parts = {
        "layout": _LAYOUT,
        "program": program,
        "flags": flags,
        "options": told,
        "versions": [__version__, producing_versions(), torch_mlir],
        "machine": os.uname().machine if is_portable else _machine(),
    }
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return key, not names_files and not any(map(_reaches_out, options.flags))


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
def _machine() -> str:
    """Return a fingerprint of this machine's CPU: what the compiler makes of `host` follows from it."""
    system = os.uname()
    try:
        lines = sorted(set(_CPU_LINES.findall(Path("/proc/cpuinfo").read_text(errors="replace"))))
    except OSError:
        lines = []
    # A machine that does not say what it is is like no other.
    text = "\n".join([system.sysname, system.machine, *(lines or [system.nodename])])
    return hashlib.sha256(text.encode()).hexdigest()


def _build(module: Any, options: Options) -> Vmfb:
    return build(module, options, *_checked_target(options), None)


def _checked_target(options: Options) -> tuple[Target, ResolvedTarget]:
    """Do as `ask_target`; what the same compiler said on an equal machine is not asked again."""
    asked = json.dumps([
        options.target_backends,
        options.target_triple,
        options.target_cpu,
        options.target_cpu_features,
        options.flags,
        _machine(),
    ])  # fmt: skip
    with suppress(KeyError, TypeError, ValueError):
        target, resolved = (
            {**known, "backends": tuple(known["backends"])}
            for known in remembered("targets")[asked]
        )
        return Target(**target), ResolvedTarget(**resolved)
    answer = ask_target(options)
    remember("targets", {asked: [asdict(part) for part in answer]})
    return answer


def _find(entry: Path) -> Vmfb | None:
    """Return a kept artifact, and note that it was used; a damaged one is removed."""
    try:
        with entry.open("rb") as file:
            written = os.fstat(file.fileno()).st_mtime_ns
            memory = _verified(file, entry.stem)
    except FileNotFoundError:
        return None
    except OSError as error:
        warn_of_folder(entry, error)
        return None
    if memory is None:
        about = f"{entry} {written}"
        warn_once(about, "%s is damaged: it is removed, and its program compiled again", entry)
    # The folder may be read-only.
    with suppress(OSError):
        os.utime(entry) if memory is not None else entry.unlink()
    return None if memory is None else Vmfb(memory)


def _verified(file: IO[bytes], key: str) -> mmap.mmap | None:
    """Return the memory of an entry; None if it is not what was written under the key."""
    size = os.fstat(file.fileno()).st_size - _CHECKSUM_BYTES
    if size <= 0:
        return None
    if size > _COPY_LIMIT:
        memory = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
        file.seek(size)
    else:
        memory = mmap.mmap(-1, size)
        if file.readinto(memory) != size:  # pyright: ignore[reportAttributeAccessIssue]
            return None
    return memory if file.read() == _checksum(memory, key) else None


def _checksum(memory: mmap.mmap | memoryview, key: str) -> bytes:
    """Return a checksum that no entry of another key has either."""
    return hashlib.sha256(key.encode() + hashlib.sha256(memory).digest()).digest()


def _keep(entry: Path, vmfb: Vmfb) -> bool:
    limit = _size_limit()
    if vmfb.size + _CHECKSUM_BYTES > limit:
        return False
    memory = vmfb.map_memory()
    if not write(entry, memory, _checksum(memory, entry.stem)):
        return False
    _evict(entry.parent.parent, limit)
    return True


def _evict(folder: Path, limit: int) -> None:
    """Delete what was not used for longest until the rest fits; who reads it keeps what he has."""
    entries = sorted(_files(folder / "vmfb"))
    excess = sum(size for _, size, _ in entries) - limit
    yesterday = time.time() - _DAY
    for used, size, path in [*entries, *_files(folder / "locks")]:
        # The others are locks, and what a killed process was writing; young ones may be in use.
        is_due = excess > 0 if path.suffix == ".vmfb" else used < yesterday
        if is_due:
            with suppress(OSError):
                path.unlink()
                excess -= size


def _files(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """Yield time of last use, size and path of the files in a folder."""
    with suppress(OSError):
        for path in folder.iterdir():
            with suppress(FileNotFoundError):
                stat = path.stat()
                yield stat.st_mtime, stat.st_size, path


def _size_limit() -> int:
    """Return how many bytes may be kept."""
    said = os.environ.get("SHARK_TURBINE_CACHE_SIZE", "").strip()
    match = _SIZE.fullmatch(said)
    if match is not None:
        base = 1024 if match["binary"] else 1000
        return int(float(match["number"]) * base ** " kmgt".index(match["unit"].lower() or " "))
    if said:
        message = "SHARK_TURBINE_CACHE_SIZE=%s is no size such as 500MB or 4GiB: it counts as 4GiB"
        warn_once(said, message, said)
    return _DEFAULT_SIZE
