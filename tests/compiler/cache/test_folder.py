# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The folder: where it is, what if it cannot be, and the small facts in it."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shark_turbine import cache_folder
from shark_turbine.cache_folder import remember, remembered
from shark_turbine.compiler import (
    cache,
    compile_cached,
    targets,
)
from shark_turbine.compiler.options import Options
from tests.compiler.cache.conftest import DOUBLE, NEGATE, PRELUDE, SQUARE, entries


@pytest.mark.parametrize(
    ("said", "size"),
    [
        ("", 4 * 2**30),
        ("0", 0),
        ("12345", 12345),
        ("500MB", 500 * 10**6),
        ("4GiB", 4 * 2**30),
        ("1.5 gib", 3 * 2**29),
        ("2T", 2 * 10**12),
        ("64k", 64000),
    ],
)
def test_sizes(said: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHARK_TURBINE_CACHE_SIZE", said)
    assert cache_folder.size_limit() == size


@pytest.mark.parametrize("said", ["much", "-1", "4 apples", "4GiBs"])
def test_a_size_that_cannot_be_read(
    said: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SHARK_TURBINE_CACHE_SIZE", said)
    assert cache_folder.size_limit() == cache_folder.size_limit() == 4 * 2**30
    (record,) = caplog.records
    assert record.getMessage().startswith(f"SHARK_TURBINE_CACHE_SIZE={said} is no size")


@pytest.mark.parametrize("value", ["0", "off", "False"])
def test_switched_off(value: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHARK_TURBINE_CACHE", value)
    for _ in range(2):
        vmfb, outcome = compile_cached(DOUBLE)
        assert (outcome.hit, outcome.path, outcome.key) == (False, None, "")
        assert vmfb.size
    remember("operators", {"a": 1})
    assert remembered("operators") == {"a": 1}
    assert not folder.exists()


def test_the_default_is_the_folder_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHARK_TURBINE_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder.find_folder() == Path("/somewhere/shark_turbine")


def test_a_folder_that_cannot_be(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder.write_text("a file")
    for _ in range(2):
        vmfb, outcome = compile_cached(DOUBLE)
        assert (outcome.hit, outcome.path) == (False, None)
        assert vmfb.size
    remember("operators", {"a": 1})
    assert remembered("operators")["a"] == 1
    assert folder.read_text() == "a file"
    (record,) = caplog.records
    assert record.name == "shark_turbine.cache_folder"
    assert f"the cache in {folder} is done without: " in record.getMessage()


def test_a_full_disk(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    vmfb, outcome = compile_cached(DOUBLE)
    assert (outcome.hit, outcome.path) == (False, None)
    assert vmfb.size
    assert entries(folder) == set()
    remember("operators", {"a": 1})
    assert remembered("operators")["a"] == 1
    (record,) = caplog.records
    assert str(folder) in record.getMessage()
    assert "No space left" in record.getMessage()


# No mode stops a superuser who keeps his privileges.
GIVE_UP_PRIVILEGES = """
import ctypes
version_and_process, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
assert ctypes.CDLL(None).capset(version_and_process, none) == 0
"""


def test_a_folder_that_is_read_only(folder: Path, python: Callable[[str], list[str]]) -> None:
    compile_cached(DOUBLE)
    folders = [path for path in (folder, *folder.rglob("*")) if path.is_dir()]
    before = sorted(folder.rglob("*"))
    script = PRELUDE + GIVE_UP_PRIVILEGES
    for module in (DOUBLE, SQUARE, NEGATE):
        script += f"print(compile_cached({module!r})[1].hit)\n"
    for path in folders:
        path.chmod(0o555)
    child = subprocess.run(python(script), capture_output=True, text=True, timeout=120)
    for path in folders:
        path.chmod(0o755)
    assert child.stdout.split() == ["True", "False", "False"], child.stderr
    (warning,) = child.stderr.splitlines()
    assert f"the cache in {folder} is done without: " in warning
    assert sorted(folder.rglob("*")) == before


def test_facts_are_merged(folder: Path) -> None:
    assert remembered("operators") == {}
    remember("operators", {"a": 1, "b": [2]})
    remember("operators", {"a": 3})
    remember("others", {"c": None})
    assert remembered("operators") == {"a": 3, "b": [2]}
    assert remembered("others") == {"c": None}
    assert cache_folder._unwritten == {}


def test_facts_of_another_version_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    remember("operators", {"a": 1})
    monkeypatch.setattr(cache_folder, "__version__", "9")
    assert remembered("operators") == {}


def test_processes_at_once_lose_no_fact(python: Callable[[str], list[str]]) -> None:
    script = PRELUDE + "for i in range(20): remember('operators', {f'{os.getpid()}-{i}': i})"
    children = [subprocess.Popen(python(script)) for _ in range(2)]
    assert [child.wait(120) for child in children] == [0, 0]
    assert len(remembered("operators")) == 40


@pytest.mark.parametrize("text", ["", "{", "[1]", "\xff"])
def test_facts_that_cannot_be_read_are_none(
    text: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    remember("operators", {"a": 1})
    (path,) = (folder / "facts").iterdir()
    path.write_bytes(text.encode("latin-1"))
    assert remembered("operators") == remembered("operators") == {}
    (record,) = caplog.records
    assert str(path) in record.getMessage()
    remember("operators", {"b": 2})
    assert remembered("operators") == {"b": 2}


def test_the_compiler_is_asked_about_a_target_once_on_a_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[str] = []

    class Counted(subprocess.Popen):
        def __init__(self, command: list[str], **options: Any) -> None:
            started.append(command[-1])
            super().__init__(command, **options)

    def forget() -> None:
        for function in (targets.backend_names, targets._resolve):
            function.cache_clear()

    forget()
    monkeypatch.setenv("SHARK_TURBINE_COMPILE_WORKER", "0")
    monkeypatch.setattr(subprocess, "Popen", Counted)
    first, _ = compile_cached(DOUBLE)
    assert len(started) == 3
    forget()
    started.clear()
    second, outcome = compile_cached(SQUARE)
    assert not outcome.hit
    assert len(started) == 1
    assert second.target == first.target


@pytest.mark.parametrize("fact", [None, [], [{}, {}], [{"backends": 1}, {"backends": 1}], "ab"])
def test_a_target_that_was_written_down_wrongly_is_asked_about_again(
    fact: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = Options()
    right = cache._checked_target(options)
    (asked,) = remembered("targets")
    remember("targets", {asked: fact})
    assert cache._checked_target(options) == right
    assert cache._checked_target(options) == right
