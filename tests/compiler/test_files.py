# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Files are whole or absent, old files survive, and no child outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from shark_turbine import files
from shark_turbine.compiler import compile
from shark_turbine.errors import CompileError, SaveError

SLOW = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # A job in the background ignores Ctrl-C.
from shark_turbine.compiler import compile
body = "".join(f"  %{i + 1} = linalg.matmul ins(%{i}, %x : tensor<64x64xf32>, tensor<64x64xf32>)"
    f" outs(%0 : tensor<64x64xf32>) -> tensor<64x64xf32>\\n" for i in range(1000))
text = "func.func @f(%x: tensor<64x64xf32>) -> tensor<64x64xf32> {\\n  %0 = tensor.empty() : "
text += "tensor<64x64xf32>\\n" + body + "  return %1000 : tensor<64x64xf32>\\n}"
print("ready", flush=True)
compile(text.encode(), save_to=sys.argv[1])
"""

SMALL_LIMIT = """
import resource, sys
from shark_turbine.compiler import compile
compile(SUM)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    compile(SUM, save_to=sys.argv[1])
except Exception as error:
    print(type(error).__name__)
"""


def test_replaces_and_leaves_nothing_else(sum_module: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.vmfb"
    path.write_bytes(b"old")
    vmfb = compile(sum_module, save_to=path)
    assert path.read_bytes() == bytes(vmfb)
    assert os.listdir(tmp_path) == ["a.vmfb"]


def test_old_file_survives_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "a.vmfb"
    path.write_bytes(b"old")
    with pytest.raises(CompileError):
        compile(b'func.func @f() { "no.such"() : () -> () \n return }', save_to=path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.vmfb"]


def test_old_file_survives_a_full_disk(python: Callable[[str], list[str]], tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    path = folder / "a.vmfb"
    path.write_bytes(b"old")
    result = subprocess.run([*python(SMALL_LIMIT), str(path)], capture_output=True, text=True)
    assert result.stdout.strip() in ("CompileError", "SaveError"), result.stderr
    assert path.read_bytes() == b"old"
    assert os.listdir(folder) == ["a.vmfb"]


@pytest.mark.parametrize("nameless", [True, False])
def test_both_ways_of_writing(
    tmp_path: Path, nameless: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not nameless:
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with files.new_file(path) as (file, publish):
        file.write(b"new")
        assert path.read_bytes() == b"old"
        publish()
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a"]
    with files.new_file(path) as (file, _):
        file.write(b"never published")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("missing/a.vmfb", "does not exist"),
        ("file/a.vmfb", "is not a folder"),
        ("folder", "it is a folder"),
        ("/dev/full", "it is not a plain file"),
    ],
)
def test_places_that_cannot_be_written(
    sum_module: bytes, tmp_path: Path, target: str, message: str
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(SaveError, match=message) as caught:
        compile(sum_module, save_to=tmp_path / target)
    assert isinstance(caught.value, OSError)


def compilers_of(parent: int) -> list[int]:
    """Return the forks of the children of a process that compile a module."""
    return [job for child in children_of(parent) for job in children_of(child) if is_compiler(job)]


def children_of(parent: int) -> list[int]:
    # A child's parent is the thread that started it.
    found: list[int] = []
    for listed in Path(f"/proc/{parent}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, listed.read_text().split())
    return found


def is_compiler(pid: int) -> bool:
    """Say whether a process compiles a module: it has files without a name open on a disk."""
    try:
        open_files = [os.readlink(file) for file in Path(f"/proc/{pid}/fd").iterdir()]
        is_tool = Path(f"/proc/{pid}/comm").read_text() == "iree-compile\n"
    except (FileNotFoundError, ProcessLookupError):
        return False
    nameless = [name for name in open_files if name.endswith("(deleted)")]
    return is_tool and not all(name.startswith("/memfd:") for name in nameless)


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks into /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_compiler_dies_with_its_parent(
    python: Callable[[str], list[str]], tmp_path: Path, how: signal.Signals
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "a.vmfb").write_bytes(b"old")
    process = subprocess.Popen(
        [*python(SLOW), str(folder / "a.vmfb")], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        wait_for(lambda: bool(compilers_of(process.pid)) or process.poll() is not None)
        (compiler,) = compilers_of(process.pid)
        process.send_signal(how)
        wait_for(lambda: process.poll() is not None and not is_compiler(compiler))
    finally:
        process.kill()
        process.communicate()
    assert os.listdir(folder) == ["a.vmfb"]
    assert (folder / "a.vmfb").read_bytes() == b"old"


def test_threads_compile_side_by_side(sum_module: bytes) -> None:
    results: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: results.append(bytes(compile(sum_module))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert len(set(results)) == 1
