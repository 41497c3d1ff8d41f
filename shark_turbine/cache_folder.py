# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The folder that outlives a process: how to write there, and a place for small facts.

It holds `facts/`, small JSON files, `locks/`, and what others keep. Anything in it may be deleted at any
time. The environment chooses:

- `SHARK_TURBINE_CACHE_DIR`: the folder; by default `shark_turbine` in the user's cache folder,
- `SHARK_TURBINE_CACHE=0`: nothing is kept.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock, Timeout

from shark_turbine import __version__
from shark_turbine.files import new_file
from shark_turbine.versions import installed

log = logging.getLogger(__name__)

_FACTS_SECONDS = 10.0
_POLL_SECONDS = 0.02

_guard = threading.Lock()
_warned: set[str] = set()
_unwritten: dict[tuple[Path | None, str], dict[str, Any]] = {}


def folder() -> Path | None:
    """Return the cache's folder, which may not exist; None where the cache is off."""
    if os.environ.get("SHARK_TURBINE_CACHE", "").lower() in ("0", "off", "no", "false"):
        return None
    named = os.environ.get("SHARK_TURBINE_CACHE_DIR")
    path = Path(named).expanduser() if named else platformdirs.user_cache_path("shark_turbine")
    return path.absolute()


def remembered(name: str) -> dict[str, Any]:
    """Return the facts under a name, of this and of earlier processes with the same versions."""
    path = _facts_path(name)
    facts = {} if path is None else _read_facts(path)
    with _guard:
        return facts | _unwritten.get((path, name), {})


def remember(name: str, update: dict[str, Any]) -> None:
    """Add facts that JSON can hold; each replaces the fact under the same key.

    Without a folder to write to they are kept for this process.
    """
    path = _facts_path(name)
    if path is not None:
        with alone(path, _FACTS_SECONDS):
            facts = json.dumps(_read_facts(path) | update, indent=1, sort_keys=True)
            if write(path, facts.encode()):
                return
    with _guard:
        _unwritten.setdefault((path, name), {}).update(update)


@contextmanager
def alone(path: Path, seconds: float | None) -> Iterator[None]:
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
        warn_of_folder(path, error)
    try:
        yield
    finally:
        with suppress(OSError):
            lock.release()


def write(path: Path, *parts: bytes | memoryview) -> bool:
    """Write a file, whole or not at all; return whether it could be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with new_file(path) as (file, publish):
            for part in parts:
                file.write(part)
            publish()
    except OSError as error:
        warn_of_folder(path, error)
        return False
    return True


def warn_of_folder(path: Path, error: Exception) -> None:
    """Say once that the folder of a file in it cannot be used."""
    root = path.parent.parent
    warn_once(str(root), "the cache in %s is done without: %s", root, error)


def warn_once(about: str, message: str, *values: object) -> None:
    """Log a warning, the first time that it is about this."""
    with _guard:
        if about in _warned:
            return
        _warned.add(about)
    log.warning(message, *values)


def _facts_path(name: str) -> Path | None:
    root = folder()
    version = f"iree{installed('iree-base-compiler')}-{__version__}"
    return None if root is None else root / "facts" / f"{name}-{version}.json"


def _read_facts(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_bytes())
        if isinstance(facts, dict):
            return facts
        warn_once(str(path), "%s is damaged, and counts as empty: no object", path)
    except FileNotFoundError:
        pass
    except OSError as error:
        warn_of_folder(path, error)
    except ValueError as error:
        warn_once(str(path), "%s is damaged, and counts as empty: %s", path, error)
    return {}
