# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What was compiled once is not compiled again, by whom ever."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shark_turbine import cache_folder
from shark_turbine.compiler import (
    cache,
    compile,
    compile_cached,
    targets,
)
from shark_turbine.compiler.options import Options
from shark_turbine.errors import CompileError, SaveError
from tests.compiler.cache.conftest import DOUBLE, PRELUDE, entries, key_of


def test_the_second_time_no_process_starts(
    load: Callable[[Any], Any], forbid_tools: Callable[[], None]
) -> None:
    first, missed = compile_cached(DOUBLE)
    forbid_tools()
    second, hit = compile_cached(DOUBLE)
    assert (missed.hit, hit.hit) == (False, True)
    assert missed.key == hit.key
    assert hit.path is not None
    assert hit.path == missed.path
    assert hit.path.is_file()
    assert hit.seconds < missed.seconds
    assert bytes(second) == bytes(first)
    assert second.manifest == first.manifest
    np.testing.assert_array_equal(
        load(second).main(np.ones(4, np.float32)).to_host(), np.full(4, 2, np.float32)
    )


def test_the_bytes_are_those_of_compile(folder: Path) -> None:
    compile_cached(DOUBLE)
    cached, outcome = compile_cached(DOUBLE)
    assert outcome.hit
    assert bytes(cached) == bytes(compile(DOUBLE))


def test_compile_itself_leaves_the_folder_alone(folder: Path) -> None:
    compile(DOUBLE)
    assert not folder.exists()


def test_another_process_hits(python: Callable[[str], list[str]]) -> None:
    script = (
        PRELUDE + f"vmfb, outcome = compile_cached({DOUBLE!r}); print(outcome.hit, outcome.key)"
    )
    first = subprocess.run(python(script), capture_output=True, text=True, timeout=120)
    script = script.replace("vmfb,", "no_tools(); vmfb,")
    second = subprocess.run(python(script), capture_output=True, text=True, timeout=120)
    assert (first.stderr, second.stderr) == ("", "")
    assert first.stdout.split() == ["False", key_of(DOUBLE)]
    assert second.stdout.split() == ["True", key_of(DOUBLE)]


AT_ONCE = f"""
build = cache.build
def slow_build(*arguments):
    time.sleep(1.0)
    return build(*arguments)
cache.build = slow_build
ready = Path(os.environ["SHARK_TURBINE_CACHE_DIR"]).with_name("ready")
ready.mkdir(exist_ok=True)
(ready / str(os.getpid())).touch()
while len(list(ready.iterdir())) < 2:
    time.sleep(0.01)
print(compile_cached({DOUBLE!r})[1].hit)
"""


def test_two_processes_at_once_compile_once(python: Callable[[str], list[str]]) -> None:
    command = python(PRELUDE + AT_ONCE)
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert sorted(child.communicate(timeout=120)[0] for child in both) == ["False\n", "True\n"]


def test_threads_at_once_compile_once(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[Any] = []
    build = cache.build
    monkeypatch.setattr(cache, "build", lambda *given: built.append(given) or build(*given))
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(compile_cached, [DOUBLE] * 4))
    assert len(built) == 1
    assert sorted(outcome.hit for _, outcome in results) == [False, True, True, True]
    assert len({bytes(vmfb) for vmfb, _ in results}) == 1


def test_a_lock_that_is_held_for_ever_only_costs_the_timeout(folder: Path) -> None:
    lock = cache_folder.FileLock(folder / "locks" / f"{key_of(DOUBLE)}.vmfb.lock")
    (folder / "locks").mkdir(parents=True)
    targets.resolve(targets.make_target("llvm-cpu"))
    with lock:
        _, outcome = compile_cached(DOUBLE, timeout=8.0)
    assert not outcome.hit
    assert outcome.seconds > 8
    assert compile_cached(DOUBLE)[1].hit


def test_a_refused_program_is_refused_again(folder: Path) -> None:
    for _ in range(2):
        with pytest.raises(CompileError, match="no CPU"):
            compile_cached(DOUBLE, target_cpu="i4004")
        with pytest.raises(CompileError, match="refused an option"):
            compile_cached(DOUBLE, flags=["--no-such-option"])
    assert entries(folder) == set()


def test_save_to(tmp_path: Path, folder: Path) -> None:
    for hit in (False, True):
        path = tmp_path / f"{hit}.vmfb"
        vmfb, outcome = compile_cached(DOUBLE, save_to=path)
        assert (outcome.hit, vmfb.path) == (hit, path)
        assert path.read_bytes() == bytes(vmfb)
    with pytest.raises(SaveError):
        compile_cached(DOUBLE, save_to=tmp_path / "nowhere" / "x.vmfb")


def test_the_options_are_those_of_compile() -> None:
    theirs = {
        name: parameter.default
        for name, parameter in inspect.signature(compile).parameters.items()
        if name not in ("module", "save_to")
    }
    assert theirs == {field.name: field.default for field in dataclasses.fields(Options)}
    with pytest.raises(TypeError, match="no_option"):
        compile_cached(DOUBLE, no_option=1)
