# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""examples/edge without its emulator: `make edge` runs it with, and CI does.

What is tested here is what a run that succeeds does not show: a wrong result, an emulator that dies, a
network that is not there, a package that is not what it says.
"""

import functools
import hashlib
import http.server
import importlib.util
import io
import lzma
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "examples/edge"

# An emulator that gives the file `answer` for the result, or dies where there is none.
EMULATOR = f"""#!{sys.executable}
import shutil, sys
from pathlib import Path
answer = Path(__file__).with_name("answer")
if not answer.exists():
    sys.exit("qemu: uncaught target signal 4 (Illegal instruction)")
(output,) = [word.partition("@")[2] for word in sys.argv if word.startswith("--output=")]
shutil.copy(answer, output)
"""


def load(name: str) -> ModuleType:
    found = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    found.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def fetch_tools() -> Iterator[ModuleType]:
    yield load("fetch_tools")
    del sys.modules["fetch_tools"]


@pytest.fixture
def example(fetch_tools: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The example with its smallest model only, and no code for a newer Arm."""
    module = load("run_on_aarch64")
    mlp = {"MLP": module.make_models()["MLP"]}
    monkeypatch.setattr(module, "make_models", lambda: mlp)
    monkeypatch.setattr(module, "show_strictness", lambda *_: 0)
    yield module
    del sys.modules["run_on_aarch64"]


@pytest.mark.parametrize(
    ("factor", "failures", "words"),
    [(1.0, 0, "agrees with PyTorch"), (1.01, 1, "NOT EQUAL"), (None, 1, "Illegal instruction")],
)
def test_what_an_emulator_gives_is_judged(
    example: ModuleType,
    fetch_tools: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    factor: float | None,
    failures: int,
    words: str,
) -> None:
    emulator = tmp_path / "qemu-aarch64"
    emulator.write_text(EMULATOR)
    emulator.chmod(0o755)
    model, x = example.make_models()["MLP"]
    if factor is not None:
        with (tmp_path / "answer").open("wb") as file, torch.no_grad():
            example.np.save(file, (model(x) * factor).numpy())
    tools = fetch_tools.Tools(emulator, tmp_path, tmp_path / "iree-run-module")
    assert example.prove(tools, tmp_path) == failures
    assert words in capsys.readouterr().out


def make_package(files: dict[str, bytes]) -> bytes:
    """Return a Debian package."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    parts = {"debian-binary": b"2.0\n", "control.tar.xz": b"odd", "data.tar.xz": data.getvalue()}
    package = b"!<arch>\n"
    for name, content in parts.items():
        header = f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n"
        package += header.encode() + content + b"\n" * (len(content) % 2)
    return package


@pytest.fixture
def mirror(
    tmp_path: Path, fetch_tools: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[bytes, bytes], None]]:
    """A mirror on this machine; the function puts a package there, and what the index takes it for."""
    root = tmp_path / "mirror"

    def fill(package: bytes, indexed: bytes) -> None:
        entry = (
            "Package: libc6\nFilename: pool/libc6.deb\n"
            f"SHA256: {hashlib.sha256(indexed).hexdigest()}\n\n"
        )
        index = lzma.compress(entry.encode())
        folder = root / f"dists/{fetch_tools.RELEASE}"
        (folder / "main/binary-arm64").mkdir(parents=True)
        (folder / "main/binary-arm64/Packages.xz").write_bytes(index)
        line = f" {hashlib.sha256(index).hexdigest()} {len(index)} main/binary-arm64/Packages.xz\n"
        (folder / "InRelease").write_text(f"SHA256:\n{line}")
        (root / "pool").mkdir()
        (root / "pool/libc6.deb").write_bytes(package)

    monkeypatch.setenv("no_proxy", "127.0.0.1")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    handler = functools.partial(Quiet, directory=root)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        monkeypatch.setattr(fetch_tools, "MIRROR", f"http://127.0.0.1:{server.server_port}")
        yield fill
        server.shutdown()


def test_a_package_is_unpacked(
    mirror: Callable[[bytes, bytes], None], fetch_tools: ModuleType, tmp_path: Path
) -> None:
    package = make_package({
        "usr/lib/aarch64-linux-gnu/libc.so.6": b"a library",
        "usr/share/doc/libc6/copyright": b"a text",
    })  # fmt: skip
    mirror(package, package)
    sysroot = tmp_path / "sysroot"
    found = fetch_tools.packages(("libc6",), "arm64")
    fetch_tools.place(sysroot, lambda new: fetch_tools.unpack(found["libc6"], new))
    assert (sysroot / "lib/aarch64-linux-gnu/libc.so.6").read_bytes() == b"a library"
    assert not (sysroot / "usr/share").exists()
    fetch_tools.unpack_file(package, "usr/lib/aarch64-linux-gnu/libc.so.6", tmp_path / "one")
    assert (tmp_path / "one").read_bytes() == b"a library"


def test_a_package_that_is_another_is_refused(
    mirror: Callable[[bytes, bytes], None], fetch_tools: ModuleType
) -> None:
    mirror(make_package({"usr/lib/evil": b"x"}), make_package({}))
    with pytest.raises(SystemExit, match=r"libc6\.deb is not what the index says"):
        fetch_tools.packages(("libc6",), "arm64")


def test_a_package_that_is_not_there(
    mirror: Callable[[bytes, bytes], None], fetch_tools: ModuleType
) -> None:
    mirror(make_package({}), make_package({}))
    with pytest.raises(SystemExit, match="has no qemu-user for arm64"):
        fetch_tools.packages(("qemu-user",), "arm64")


def test_without_a_network_the_message_says_so(
    fetch_tools: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    # Nobody listens on the port "discard".
    monkeypatch.setattr(fetch_tools, "MIRROR", "http://127.0.0.1:9")
    with pytest.raises(SystemExit, match="needs the network once"):
        fetch_tools.fetch(tmp_path / "tools")
    assert list((tmp_path / "tools").iterdir()) == []
