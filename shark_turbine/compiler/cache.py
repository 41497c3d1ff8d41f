# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`compile_cached`: vmfbs kept on disk by what they were compiled from, and a place for facts.

The folder holds `vmfb/<key>.vmfb`, an artifact and its checksum behind it; `facts/`, small JSON files;
and `locks/`. Anything in it may be deleted at any time. The environment chooses:

- `SHARK_TURBINE_CACHE_DIR`: the folder; by default `shark_turbine` in the user's cache folder,
- `SHARK_TURBINE_CACHE=0`: nothing is kept,
- `SHARK_TURBINE_CACHE_SIZE`: how much is kept, such as `500MB` or `4GiB`, the default.
"""

from __future__ import annotations

import hashlib
import json
import logging
import mmap
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import IO, Any

import platformdirs
from filelock import FileLock, Timeout

from shark_turbine import __version__, ir
from shark_turbine.files import check_target, new_file
from shark_turbine.versions import installed

from . import inputs
from .driver import (
    Options,
    ask_target,
    build,
    compiler_flags,
    expand,
    producing_versions,
    recipe_of,
)
from .facts import facts
from .recipes import make_recipe
from .targets import ResolvedTarget, Target
from .vmfb import Vmfb

log = logging.getLogger(__name__)

# Part of every key: entries of another layout are not found, and go when they are the oldest.
_LAYOUT = 1
_CHECKSUM_BYTES = 32
# As in `Vmfb.open`: what others can reach is copied up to this size, and mapped above it.
_COPY_LIMIT = 64 * 2**20
_DEFAULT_SIZE = 4 * 2**30
_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?) *(?P<unit>[kmgt]?)(?P<binary>i?)b?", re.IGNORECASE)
_DAY = 24 * 3600.0
_FACTS_SECONDS = 10.0
_POLL_SECONDS = 0.02

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

_guard = threading.Lock()
_warned: set[str] = set()
_unwritten: dict[tuple[Path | None, str], dict[str, Any]] = {}


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
    request = expand(Options(**options))
    module = inputs.load(module)
    folder = _folder()
    key, is_complete = ("", False) if folder is None else _key(module, request)
    if folder is None or not is_complete:
        hit, path, vmfb = False, None, _build(module, request)
    else:
        hit, path, vmfb = _find_or_build(folder / "vmfb" / f"{key}.vmfb", module, request)
    if save_to is not None:
        vmfb.save(save_to)
    return vmfb, Outcome(hit, key, time.perf_counter() - start, path)


def remembered(name: str) -> dict[str, Any]:
    """Return the facts under a name, of this and of earlier processes with the same versions."""
    path = _facts_path(name)
    known = {} if path is None else _read_facts(path)
    with _guard:
        return known | _unwritten.get((path, name), {})


def remember(name: str, update: dict[str, Any]) -> None:
    """Add facts that JSON can hold; each replaces the fact under the same key.

    Without a folder to write to they are kept for this process.
    """
    path = _facts_path(name)
    if path is not None:
        with _alone(path, _FACTS_SECONDS):
            known = json.dumps(_read_facts(path) | update, indent=1, sort_keys=True)
            if _write(path, known.encode()):
                return
    with _guard:
        _unwritten.setdefault((path, name), {}).update(update)


def _find_or_build(entry: Path, module: Any, options: Options) -> tuple[bool, Path | None, Vmfb]:
    found = _find(entry)
    if found is not None:
        return True, entry, found
    with _alone(entry, options.timeout):
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
    found = facts(module)
    flags = compiler_flags(options, target, found, recipe_of(options, target, found))
    told = {field.name: getattr(options, field.name) for field in fields(Options)}
    # They decide whether there is an artifact and what is said of it if not, not which one it is.
    del told["timeout"], told["diagnose"]
    told["recipe"] = make_recipe(options.recipe).to_json()
    told["signatures"] = [signature.to_json() for signature in options.signatures]
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
        _warn_of_folder(entry, error)
        return None
    if memory is None:
        about = f"{entry} {written}"
        _warn_once(about, "%s is damaged: it is removed, and its program compiled again", entry)
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
    if not _write(entry, memory, _checksum(memory, entry.stem)):
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


@contextmanager
def _alone(path: Path, seconds: float | None) -> Iterator[None]:
    """Hold the lock of a file; without it after some seconds, or where there are no locks.

    The lock saves work. Nobody needs it for the right result: files appear whole.
    """
    lock = FileLock(path.parent.parent / "locks" / f"{path.name}.lock")
    try:
        Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(-1 if seconds is None else seconds, poll_interval=_POLL_SECONDS)
    except Timeout:
        log.info("%s is locked for more than %s s", path, seconds)
    except (OSError, NotImplementedError) as error:
        _warn_of_folder(path, error)
    try:
        yield
    finally:
        with suppress(OSError):
            lock.release()


def _write(path: Path, *parts: bytes | memoryview) -> bool:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with new_file(path) as (file, publish):
            for part in parts:
                file.write(part)
            publish()
    except OSError as error:
        _warn_of_folder(path, error)
        return False
    return True


def _facts_path(name: str) -> Path | None:
    folder = _folder()
    version = f"iree{installed('iree-base-compiler')}-{__version__}"
    return None if folder is None else folder / "facts" / f"{name}-{version}.json"


def _read_facts(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_bytes())
        if isinstance(facts, dict):
            return facts
        _warn_once(str(path), "%s is damaged, and counts as empty: no object", path)
    except FileNotFoundError:
        pass
    except OSError as error:
        _warn_of_folder(path, error)
    except ValueError as error:
        _warn_once(str(path), "%s is damaged, and counts as empty: %s", path, error)
    return {}


def _folder() -> Path | None:
    """Return the cache's folder, which may not exist; None where the cache is off."""
    if os.environ.get("SHARK_TURBINE_CACHE", "").lower() in ("0", "off", "no", "false"):
        return None
    named = os.environ.get("SHARK_TURBINE_CACHE_DIR")
    folder = Path(named).expanduser() if named else platformdirs.user_cache_path("shark_turbine")
    return folder.absolute()


def _size_limit() -> int:
    """Return how many bytes may be kept."""
    said = os.environ.get("SHARK_TURBINE_CACHE_SIZE", "").strip()
    match = _SIZE.fullmatch(said)
    if match is not None:
        base = 1024 if match["binary"] else 1000
        return int(float(match["number"]) * base ** " kmgt".index(match["unit"].lower() or " "))
    if said:
        message = "SHARK_TURBINE_CACHE_SIZE=%s is no size such as 500MB or 4GiB: it counts as 4GiB"
        _warn_once(said, message, said)
    return _DEFAULT_SIZE


def _warn_of_folder(path: Path, error: Exception) -> None:
    folder = path.parent.parent
    _warn_once(str(folder), "the cache in %s is done without: %s", folder, error)


def _warn_once(about: str, message: str, *values: object) -> None:
    with _guard:
        if about in _warned:
            return
        _warned.add(about)
    log.warning(message, *values)
