# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from shark_turbine.errors import SaveError


def check_target(path: Path) -> None:
    """Check that a file can be put at `path`, before hours of work are spent on its content.

    Raises:
        SaveError: its folder is missing or is a file, or something there is not a plain file.
    """
    folder = path.parent
    if not folder.is_dir():
        kind = "is not a folder" if folder.exists() else "does not exist"
        raise SaveError(
            f"{path} cannot be written: {folder} {kind}",
            expected="a path in a folder that exists",
            fix=f"os.makedirs({str(folder)!r})" if not folder.exists() else None,
        )
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "not a plain file"
        raise SaveError(
            f"{path} cannot be written: it is {kind}",
            expected="the path of a new file, or of a file to replace",
        )


@contextmanager
def new_file(path: Path | None) -> Iterator[tuple[IO[bytes], Callable[[], None]]]:
    """Open a new file without a name, and the function that puts it at `path`.

    Until that function is called nothing is visible at `path`, and an old file stays there; a
    process that is killed leaves nothing behind. With `path=None` the file never gets a name.

    Raises:
        SaveError: the folder cannot be written.
    """
    if path is None:
        with tempfile.TemporaryFile(prefix="shark_turbine-") as file:
            yield file, lambda: None
        return
    check_target(path)
    with _explained(path):
        file, name = _open_nameless(path.parent) or _open_hidden(path)
    try:
        with file:
            yield file, lambda: _publish(file, name, path)
    finally:
        if name is not None:
            with suppress(FileNotFoundError):
                os.unlink(name)


def _open_nameless(folder: Path) -> tuple[IO[bytes], None] | None:
    """Open a file that has no name yet; None where the system or file system has no such files."""
    flag = getattr(os, "O_TMPFILE", None)
    if flag is None:
        return None
    try:
        descriptor = os.open(folder, flag | os.O_RDWR | os.O_CLOEXEC, 0o666)
    except (IsADirectoryError, OSError) as error:
        if isinstance(error, PermissionError):
            raise
        return None
    return os.fdopen(descriptor, "w+b"), None


def _open_hidden(path: Path) -> tuple[IO[bytes], str]:
    name = _temporary_name(path)
    return open(name, "x+b"), name


def _temporary_name(path: Path) -> str:
    return str(path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp"))


def _publish(file: IO[bytes], name: str | None, path: Path) -> None:
    """Give a finished file its name, in one step, after its bytes are on the disk."""
    with _explained(path):
        file.flush()
        os.fsync(file.fileno())
        if name is not None:
            os.replace(name, path)
            return
        name = _temporary_name(path)
        # Only with a directory does Python call the linkat that follows the link in /proc; the
        # path is absolute, so any descriptor does.
        descriptor = file.fileno()
        os.link(f"/proc/self/fd/{descriptor}", name, src_dir_fd=descriptor)
        try:
            os.replace(name, path)
        except OSError:
            os.unlink(name)
            raise


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SaveError(f"{path} cannot be written: {error.strerror or error}") from error
