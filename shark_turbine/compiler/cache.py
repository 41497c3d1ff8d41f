# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`compile_cached`: vmfbs kept on disk by what they were compiled from, each with a checksum behind it."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from shark_turbine import cache_folder
from shark_turbine.cache_folder import remember, remembered
from shark_turbine.files import check_target, new_file

from . import inputs
from .cache_key import key_of, machine
from .dispatch_map import append_origins
from .driver import build
from .facts import ModuleFacts, facts
from .marks import origins
from .options import Options, ask_target, expand
from .targets import ResolvedTarget, Target
from .vmfb import Vmfb

_CHECKSUM_BYTES = 32
# As in `Vmfb.open`: what others can reach is copied up to this size, and mapped above it.
_COPY_LIMIT = 64 * 2**20
_DAY = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What `compile_cached` did.

    Attributes:
        hit: whether the artifact was there already.
        key: what stands for the program and its options; empty where the cache is off.
        seconds: how long it took.
        path: the entry in the cache, a vmfb with a checksum behind its end; None where nothing was
            kept.
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

    Args:
        module: as for `compile`.
        save_to: as for `compile`.
        **options: those of `compile`.

    Raises:
        CompileError, SaveError: as `compile`.
    """
    start = time.perf_counter()
    if save_to is not None:
        check_target(Path(save_to))
    request = expand(Options(**options))
    module = inputs.load(module)
    folder = cache_folder.find_folder()
    found = facts(module)
    key, is_complete = ("", False) if folder is None else key_of(module, request, found)
    if folder is None or not is_complete:
        hit, path, vmfb = False, None, _build(module, request, found)
    else:
        hit, path, vmfb = _find_or_build(folder / "vmfb" / f"{key}.vmfb", module, request, found)
    if hit:
        vmfb = _relocated(vmfb, module)
    if save_to is not None:
        vmfb.save(save_to)
    return vmfb, Outcome(hit, key, time.perf_counter() - start, path)


def _find_or_build(
    entry: Path, module: Any, options: Options, found: ModuleFacts
) -> tuple[bool, Path | None, Vmfb]:
    kept = _find(entry)
    if kept is not None:
        return True, entry, kept
    with cache_folder.alone(entry, options.timeout):
        # Whoever held the lock before may have compiled it.
        kept = _find(entry)
        if kept is not None:
            return True, entry, kept
        vmfb = _build(module, options, found)
        return False, entry if _keep(entry, vmfb) else None, vmfb


def _relocated(vmfb: Vmfb, module: Any) -> Vmfb:
    """Return a vmfb that says of its dispatches which lines of this module they came from."""
    known = vmfb.dispatches
    if known is None:
        return vmfb
    found = origins(module, known.origins)
    if found == known.origins:
        return vmfb
    with new_file(None) as (file, _):
        file.write(vmfb.map_memory())
        append_origins(file, found)
        return Vmfb.from_file(file, None)


def _build(module: Any, options: Options, found: ModuleFacts) -> Vmfb:
    return build(module, options, *_checked_target(options), None, found)


def _checked_target(options: Options) -> tuple[Target, ResolvedTarget]:
    """Do as `ask_target`; what the same compiler said on an equal machine is not asked again."""
    asked = json.dumps([
        options.target_backends,
        options.target_triple,
        options.target_cpu,
        options.target_cpu_features,
        options.flags,
        machine(),
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
        cache_folder.warn_of_folder(entry, error)
        return None
    if memory is None:
        about = f"{entry} {written}"
        cache_folder.warn_once(
            about, "%s is damaged: it is removed, and its program compiled again", entry
        )
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
    limit = cache_folder.size_limit()
    if vmfb.size + _CHECKSUM_BYTES > limit:
        return False
    memory = vmfb.map_memory()
    if not cache_folder.write(entry, memory, _checksum(memory, entry.stem)):
        return False
    _evict(entry.parent.parent, limit)
    return True


def _evict(folder: Path, limit: int) -> None:
    """Delete what was not used for longest until the rest fits; who reads it keeps what he has."""
    entries = sorted(cache_folder.files(folder / "vmfb"))
    excess = sum(size for _, size, _ in entries) - limit
    yesterday = time.time() - _DAY
    for used, size, path in [*entries, *cache_folder.files(folder / "locks")]:
        # The others are locks, and what a killed process was writing; young ones may be in use.
        is_due = excess > 0 if path.suffix == ".vmfb" else used < yesterday
        if is_due:
            with suppress(OSError):
                path.unlink()
                excess -= size
