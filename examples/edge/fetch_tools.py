# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Get what runs programs for 64-bit Arm on this machine, without root and without touching the system.

    python fetch_tools.py [FOLDER]

Into the folder (default: `.tools` beside this script) come

- `qemu-aarch64`, the emulator, from Debian's package `qemu-user`: one static executable,
- `sysroot/`, the C and C++ libraries of an Arm machine, from Debian's packages,
- `runtime/`, IREE's runtime for Arm with its `iree-run-module`: the wheel of the version that is installed here.

Debian's packages are compared with the checksums of its index, and the index with the release file, which
came over HTTPS. It is about 100 MB, and done once; `DEBIAN_MIRROR` names another mirror.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import NamedTuple

MIRROR = os.environ.get("DEBIAN_MIRROR", "https://deb.debian.org/debian").rstrip("/")
RELEASE = "trixie"
LIBRARIES = ("libc6", "libstdc++6", "libgcc-s1")
DEBIAN_NAMES = {"x86_64": "amd64", "aarch64": "arm64"}
FOLDER = Path(__file__).with_name(".tools")


class Tools(NamedTuple):
    """Where the parts are."""

    qemu: Path
    sysroot: Path
    run_module: Path

    def command(self, cpu: str) -> list[str]:
        """Return the command of `iree-run-module` on an emulated CPU; its arguments follow."""
        return [str(self.qemu), "-cpu", cpu, "-L", str(self.sysroot), str(self.run_module)]


def fetch(folder: Path = FOLDER) -> Tools:
    """Return the tools in a folder; what is missing is downloaded.

    Raises:
        SystemExit: it cannot be had; the message says why.
    """
    iree = version("iree-base-runtime").partition("+")[0]
    runtime = folder / f"runtime-{iree}"
    tools = Tools(
        folder / "qemu-aarch64",
        folder / "sysroot",
        runtime / "iree/_runtime_libs/iree-run-module",
    )
    folder.mkdir(parents=True, exist_ok=True)
    if not tools.qemu.exists():
        print(f"fetching qemu-user from {MIRROR}", flush=True)
        package = packages(("qemu-user",), host_architecture())["qemu-user"]
        place(tools.qemu, lambda new: unpack_file(package, "usr/bin/qemu-aarch64", new))
    if not tools.sysroot.exists():
        print(f"fetching {', '.join(LIBRARIES)} for arm64 from {MIRROR}", flush=True)
        libraries = packages(LIBRARIES, "arm64")
        place(tools.sysroot, lambda new: [unpack(deb, new) for deb in libraries.values()])
    if not runtime.exists():
        print(f"fetching the aarch64 wheel of iree-base-runtime {iree}", flush=True)
        place(runtime, lambda new: unpack_wheel(iree, new))
    return tools


def host_architecture() -> str:
    """Return Debian's name of this machine's architecture."""
    if sys.platform != "linux" or platform.machine() not in DEBIAN_NAMES:
        machine = f"{sys.platform} on {platform.machine()}"
        sys.exit(f"qemu's user mode runs on Linux, on x86-64 or aarch64; this is {machine}")
    return DEBIAN_NAMES[platform.machine()]


def place(target: Path, make) -> None:
    """Make a file or folder under another name first, so that it is whole or absent."""
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        new = Path(scratch, target.name)
        make(new)
        new.rename(target)


def packages(names: tuple[str, ...], architecture: str) -> dict[str, bytes]:
    """Download Debian packages by name; what is not what the index says is an error."""
    path = f"main/binary-{architecture}/Packages.xz"
    release = download(f"{MIRROR}/dists/{RELEASE}/InRelease").decode()
    # The lines of the section SHA256, which is the last one.
    listed = re.search(rf"^ (\w{{64}}) +\d+ {re.escape(path)}$", release, re.MULTILINE)
    if listed is None:
        sys.exit(f"{MIRROR} has no {path} in {RELEASE}")
    index = lzma.decompress(download(f"{MIRROR}/dists/{RELEASE}/{path}", listed[1])).decode()
    found = {}
    for entry in index.split("\n\n"):
        fields = dict(re.findall(r"^([\w-]+): (.*)$", entry, re.MULTILINE))
        if fields.get("Package") in names:
            found[fields["Package"]] = download(f"{MIRROR}/{fields['Filename']}", fields["SHA256"])
    if set(found) != set(names):
        sys.exit(f"{MIRROR} has no {', '.join(set(names) - set(found))} for {architecture}")
    return found


def download(url: str, sha256: str | None = None) -> bytes:
    """Return what is at an address."""
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            data = answer.read()
    except (urllib.error.URLError, OSError) as error:
        sys.exit(
            f"{url} cannot be fetched: {error}\nThis example needs the network once; "
            "DEBIAN_MIRROR=https://... names another mirror, and https_proxy a proxy."
        )
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        sys.exit(f"{url} is not what the index says: its SHA-256 is not {sha256}")
    return data


def members(package: bytes) -> tarfile.TarFile:
    """Return the files of a Debian package: an `ar` archive with a compressed `tar` archive in it."""
    place = 8
    while place < len(package):
        header = package[place : place + 60]
        name, size = header[:16].decode().strip().rstrip("/"), int(header[48:58])
        if name.startswith("data.tar"):
            return tarfile.open(fileobj=io.BytesIO(package[place + 60 : place + 60 + size]))
        place += 60 + size + size % 2
    sys.exit("a Debian package holds no data.tar")


def unpack_file(package: bytes, name: str, target: Path) -> None:
    """Write one file of a package."""
    with members(package) as archive:
        source = next(
            member for member in archive if PurePosixPath(member.name) == PurePosixPath(name)
        )
        content = archive.extractfile(source)
        assert content is not None
        with target.open("wb") as file:
            shutil.copyfileobj(content, file)
    target.chmod(0o755)


def unpack(package: bytes, folder: Path) -> None:
    """Unpack the libraries of a package; on Debian `/lib` is a link to `/usr/lib`."""
    with members(package) as archive:
        wanted = [member for member in archive if "/lib/" in member.name and not member.isdev()]
        archive.extractall(folder, wanted, filter="data")
    link = folder / "lib"
    if not link.exists():
        link.symlink_to("usr/lib")


def unpack_wheel(iree: str, folder: Path) -> None:
    """Download IREE's runtime for Arm and unpack its executables."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--only-binary=:all:", "--platform", "manylinux_2_28_aarch64"),
            *("--python-version", "3.11", "--dest", scratch, f"iree-base-runtime=={iree}"),
        ]
        # What pip warns about on the way is of no interest here, and its reasons are.
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = list(Path(scratch).glob("*.whl"))
        if result.returncode != 0 or not wheels:
            sys.exit(
                f"the aarch64 wheel of iree-base-runtime {iree} cannot be had:\n{result.stderr}"
            )
        with zipfile.ZipFile(wheels[0]) as archive:
            names = [
                name
                for name in archive.namelist()
                if name.endswith("_runtime_libs/iree-run-module") or ".libs/" in name
            ]
            archive.extractall(folder, names)
    for name in names:
        (folder / name).chmod(0o755)


if __name__ == "__main__":
    tools = fetch(*map(Path, sys.argv[1:2]))
    print(*tools, sep="\n")
