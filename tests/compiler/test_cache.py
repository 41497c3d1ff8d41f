# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The cache on disk: what is one program, who compiles it, and what harms nobody."""

from __future__ import annotations

import dataclasses
import errno
import inspect
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shark_turbine import cache_folder
from shark_turbine.cache_folder import remember, remembered
from shark_turbine.compiler import (
    cache,
    cache_key,
    compile,
    compile_cached,
    inputs,
    targets,
)
from shark_turbine.compiler.options import Options
from shark_turbine.errors import CompileError, SaveError
from shark_turbine.signature import FunctionSignature, Leaf

DOUBLE = "func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {\n"
DOUBLE += "  %0 = arith.addf %x, %x : tensor<4xf32>\n  return %0 : tensor<4xf32>\n}"
SQUARE = DOUBLE.replace("addf", "mulf")
NEGATE = DOUBLE.replace("arith.addf %x, %x", "arith.negf %x")

# What every script does first; `no_tools()` makes the start of any process an error.
PRELUDE = """
import os, signal, subprocess, sys, time
from pathlib import Path
from shark_turbine import cache_folder
from shark_turbine.cache_folder import remember
from shark_turbine.compiler import cache, cache_key, compile_cached

def no_tools():
    def refuse(*arguments, **options):
        raise AssertionError("a process starts")
    subprocess.Popen = os.fork = os.posix_spawn = refuse
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own; child processes inherit it."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("SHARK_TURBINE_CACHE_DIR", str(folder))
    monkeypatch.delenv("SHARK_TURBINE_CACHE", raising=False)
    monkeypatch.delenv("SHARK_TURBINE_CACHE_SIZE", raising=False)
    monkeypatch.setattr(cache_folder, "_warned", set())
    monkeypatch.setattr(cache_folder, "_unwritten", {})
    return folder


@pytest.fixture
def forbid_tools(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("a process starts")

    # The worker needs none.
    monkeypatch.setenv("SHARK_TURBINE_COMPILE_WORKER", "0")
    return lambda: monkeypatch.setattr(subprocess, "Popen", refuse)


def entries(folder: Path) -> set[str]:
    return {path.name for path in (folder / "vmfb").glob("*")}


def key_of(module: Any, **options: Any) -> str:
    return cache_key.key_of(inputs.load(module), Options(**options))[0]


# ------------------------------------------------------------------------------------------------ hits and misses --


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
        _, outcome = compile_cached(DOUBLE, timeout=3.0)
    assert not outcome.hit
    assert outcome.seconds > 3
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


# ------------------------------------------------------------------------------------------------------------ keys --


def test_the_place_of_a_program_does_not_matter() -> None:
    moved = DOUBLE.replace("%x: tensor<4xf32>", '%x: tensor<4xf32> loc("other.py":9:9)')
    moved = "\n\n" + moved.replace("return", "\n return").replace("}", '} loc("a.py":1:1)')
    assert key_of(moved) == key_of(DOUBLE) == key_of(DOUBLE.encode())


@pytest.mark.parametrize(
    ("module", "options"),
    [
        (SQUARE, {}),
        (DOUBLE.replace("@main", "@other"), {}),
        (DOUBLE.replace("4xf32", "5xf32"), {}),
        (DOUBLE.replace("4xf32", "4xf64"), {}),
        (DOUBLE, {"flags": ["--iree-opt-level=O2"]}),
        (DOUBLE, {"target_backends": ["vmvx"]}),
        (DOUBLE, {"target_cpu": "generic"}),
        (DOUBLE, {"target_cpu_features": "+avx2"}),
        (DOUBLE, {"target_triple": "aarch64-linux-gnu"}),
        (DOUBLE, {"strip_contracts": True}),
        (DOUBLE, {"lowering": "torch-mlir"}),
        (DOUBLE, {"name": "graph"}),
        (DOUBLE, {"stateful": False}),
        (DOUBLE, {"preserves_inputs": True}),
        (DOUBLE, {"signatures": [FunctionSignature("main", (), (), Leaf(0), ())]}),
    ],
)
def test_what_makes_another_program(module: str, options: dict[str, Any]) -> None:
    assert key_of(module, **options) != key_of(DOUBLE)


def test_constants_are_part_of_the_program() -> None:
    small = "util.global private @w = dense<[1.0, 2.0]> : tensor<2xf32>"
    large = 'util.global private @w = dense_resource<w> : tensor<2xf32>\n{{-# dialect_resources: \
        {{ builtin: {{ w: "0x040000000000803F0000{}" }} }} #-}}'
    modules = [small, small.replace("2.0", "3.0"), large.format("803F"), large.format("0040")]
    assert len(set(map(key_of, modules))) == 4


def test_the_time_limit_is_no_part_of_the_program() -> None:
    assert key_of(DOUBLE, timeout=5.0) == key_of(DOUBLE)


def test_versions_and_the_cpu_are_part_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = key_of(DOUBLE), key_of(DOUBLE, target_cpu="generic")
    with monkeypatch.context() as patch:
        patch.setattr(cache_key, "machine", lambda: "another")
        assert key_of(DOUBLE) != before[0]
        assert key_of(DOUBLE, target_cpu="generic") == before[1]
    with monkeypatch.context() as patch:
        patch.setattr(cache_key, "__version__", "9")
        assert key_of(DOUBLE) != before[0]
    monkeypatch.setattr(cache_key, "producing_versions", lambda: {"iree_compiler": "9"})
    assert key_of(DOUBLE) != before[0]


@pytest.mark.parametrize(
    "flag",
    ["--iree-opt-import-parameters=w=weights.irpa", "--x=sub/file", "@flags", "--x=here.txt"],
)
def test_options_that_read_files_are_not_kept(
    flag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("here.txt").touch()
    assert not cache_key.key_of(inputs.load(DOUBLE), Options(flags=[flag]))[1]


def test_options_that_write_files_write_them_each_time(tmp_path: Path, folder: Path) -> None:
    for place in (tmp_path / "dump", tmp_path / "dump"):
        shutil.rmtree(place, ignore_errors=True)
        _, outcome = compile_cached(
            DOUBLE, flags=[f"--iree-hal-dump-executable-sources-to={place}"]
        )
        assert (outcome.hit, outcome.path) == (False, None)
        assert list(place.iterdir())
    assert entries(folder) == set()


def test_modules_that_name_object_files_are_not_kept() -> None:
    module = DOUBLE.replace(
        "-> tensor<4xf32> {",
        '-> tensor<4xf32> attributes {o = #hal.executable.object<{path = "f.o"}>} {',
    )
    assert not cache_key.key_of(inputs.load(module), Options())[1]
    assert cache_key.key_of(inputs.load(DOUBLE), Options())[1]


# ---------------------------------------------------------------------------------------------------------- damage --


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


# ------------------------------------------------------------------------------------------------------------ size --


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


# ---------------------------------------------------------------------------------------------- without the folder --


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


# ----------------------------------------------------------------------------------------------------------- facts --


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
