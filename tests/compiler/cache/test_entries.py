# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Entries that are damaged, half-written, or too many."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shark_turbine.compiler import (
    cache,
    compile_cached,
)
from tests.compiler.cache.conftest import DOUBLE, NEGATE, PRELUDE, SQUARE, entries, key_of


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def put_another(path: Path) -> None:
    _, other = compile_cached(SQUARE)
    assert other.path is not None
    shutil.copy(other.path, path)


@pytest.mark.parametrize(
    "harm",
    [
        flip,
        put_another,
        lambda path: os.truncate(path, path.stat().st_size - 1),
        lambda path: os.truncate(path, 0),
        lambda path: path.write_text("not ours"),
    ],
    ids=["flipped", "another's", "cut", "empty", "foreign"],
)
@pytest.mark.parametrize("copy_limit", [0, cache._COPY_LIMIT])
def test_a_damaged_entry_is_compiled_again(
    harm: Callable[[Path], Any],
    copy_limit: int,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cache, "_COPY_LIMIT", copy_limit)
    good, outcome = compile_cached(DOUBLE)
    assert outcome.path is not None
    harm(outcome.path)
    again, missed = compile_cached(DOUBLE)
    assert not missed.hit
    assert bytes(again) == bytes(good)
    assert [record.getMessage() for record in caplog.records] == [
        f"{outcome.path} is damaged: it is removed, and its program compiled again"
    ]
    assert compile_cached(DOUBLE)[1].hit


@pytest.mark.parametrize("copy_limit", [0, cache._COPY_LIMIT])
def test_a_vmfb_outlives_its_entry(copy_limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_COPY_LIMIT", copy_limit)
    compile_cached(DOUBLE)
    vmfb, outcome = compile_cached(DOUBLE)
    assert outcome.hit
    assert outcome.path is not None
    before = bytes(vmfb)
    if copy_limit:
        os.truncate(outcome.path, 0)
    outcome.path.unlink()
    outcome.path.write_bytes(b"another file")
    assert bytes(vmfb) == before


@pytest.mark.parametrize("last_act", ["fsync", "replace"])
def test_a_process_that_is_killed_while_it_writes(
    last_act: str, folder: Path, python: Callable[[str], list[str]]
) -> None:
    compile_cached(SQUARE)
    script = f"os.{last_act} = lambda *given: os.kill(os.getpid(), signal.SIGKILL)\n"
    script = PRELUDE + script + f"compile_cached({DOUBLE!r})"
    child = subprocess.run(python(script), timeout=120, check=False)
    assert child.returncode == -signal.SIGKILL
    left = entries(folder) - {f"{key_of(SQUARE)}.vmfb"}
    assert all(name.endswith(".tmp") for name in left)
    assert compile_cached(DOUBLE)[1].hit is False
    assert compile_cached(DOUBLE)[1].hit is True
    for name in left:
        os.utime(folder / "vmfb" / name, (1, 1))
    compile_cached(NEGATE)
    assert all(name.endswith(".vmfb") for name in entries(folder))


def test_the_least_recently_used_go_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths: list[Path] = []
    for age, module in ((100, DOUBLE), (50, SQUARE)):
        _, outcome = compile_cached(module)
        assert outcome.path is not None
        os.utime(outcome.path, (1e9 - age, 1e9 - age))
        paths.append(outcome.path)
    assert compile_cached(DOUBLE)[1].hit
    limit = int(2.5 * paths[0].stat().st_size)
    monkeypatch.setenv("SHARK_TURBINE_CACHE_SIZE", str(limit))
    _, outcome = compile_cached(NEGATE)
    assert outcome.path is not None
    assert entries(folder) == {paths[0].name, outcome.path.name}


def test_what_is_larger_than_the_limit_is_not_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHARK_TURBINE_CACHE_SIZE", "1kB")
    vmfb, outcome = compile_cached(DOUBLE)
    assert vmfb.size > 1000
    assert outcome.path is None
    assert entries(folder) == set()
