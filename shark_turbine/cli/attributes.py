# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`module:attr` and `path/to/file.py:attr`: a Python object that a user names on the command line."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
import sys
import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from shark_turbine.errors import CommandLineError, SourceLocation, TurbineError

T = TypeVar("T")


def load_attribute(place: str) -> Any:
    """Import a module, with the current folder on the path, and return what is called so in it.

    Args:
        place: `package.module:attr`, `path/to/file.py:attr`; `attr` may have dots.

    Raises:
        CommandLineError: there is no such module, file or attribute, or importing it fails.
    """
    module_name, colon, attribute = place.rpartition(":")
    if not colon or not module_name or not attribute:
        raise CommandLineError(
            "this names no object in a module",
            got=repr(place),
            expected="module:attr, path/to/file.py:attr, or a saved .pt2",
            fix=_fix_without_colon(place),
        )
    is_file = module_name.endswith(".py") or os.sep in module_name
    module = _load_file(Path(module_name)) if is_file else _load_module(module_name)
    value: Any = module
    for name in attribute.split("."):
        value = _member(value, name, module_name)
    return value


def of_user(what: str, run: Callable[[], T]) -> T:
    """Run code of the user's; what it raises is his mistake, and named with his line.

    Raises:
        CommandLineError: it raised something.
    """
    try:
        return run()
    except TurbineError:
        raise
    except (Exception, SystemExit) as error:
        location = _last_line(error)
        raise CommandLineError(
            f"{what} raised {type(error).__name__}: {str(error) or 'nothing more is said'}",
            location=location,
            got=None if location is None else location.source_line() or None,
            fix="shark-turbine --traceback export ... shows the way there",
        ) from error


def _last_line(error: BaseException) -> SourceLocation | None:
    """Return where an error came from: the last line that is not a library's, nor ours."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return SourceLocation(error.filename, error.lineno)
    libraries = (sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))
    foreign = (*libraries, str(Path(__file__).parents[1]), "<")
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith(foreign) and frame.lineno is not None:
            return SourceLocation(frame.filename, frame.lineno)
    return None


def _load_module(name: str) -> ModuleType:
    _be_found_in(os.getcwd())
    try:
        return of_user(f"importing {name}", lambda: importlib.import_module(name))
    except CommandLineError as error:
        cause = error.__cause__
        missing = getattr(cause, "name", None) if isinstance(cause, ModuleNotFoundError) else None
        # Of `a.b` it is `a` or `a.b` that may be missing; anything else is missing inside of it.
        if missing and f"{name}.".startswith(f"{missing}."):
            files = [path.stem for path in Path().glob("*.py")]
            close = difflib.get_close_matches(str(missing), files, n=1)
            raise CommandLineError(
                f"there is no module {missing!r}",
                got=name,
                expected="a module in the current folder, or an installed one",
                fix=f"did you mean {close[0]!r}?" if close else None,
            ) from cause
        raise


def _load_file(path: Path) -> ModuleType:
    """Run a file as a module of its name, as `python path/to/file.py` finds what is beside it."""
    if not path.is_file():
        raise CommandLineError(
            f"there is no file {path}", expected="path/to/file.py:attr", fix=_close_file(path)
        )
    path = path.resolve()
    name = path.stem
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__file__", None) == str(path):
        return known
    if known is not None:
        # A file called as a library's module must not become that module for the library.
        name = f"{name}_of_{path.parent.name}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise CommandLineError(f"{path} is no Python file", expected="path/to/file.py:attr")
    _be_found_in(str(path.parent))
    module, loader = importlib.util.module_from_spec(spec), spec.loader
    sys.modules[name] = module
    of_user(f"running {path.name}", lambda: loader.exec_module(module))
    return module


def _be_found_in(folder: str) -> None:
    if folder not in sys.path:
        sys.path.insert(0, folder)


def _member(value: Any, name: str, module_name: str) -> Any:
    try:
        return getattr(value, name)
    except AttributeError as error:
        names = [
            known
            for known in dir(value)
            if not known.startswith("_") and not isinstance(getattr(value, known, None), ModuleType)
        ]
        close = difflib.get_close_matches(name, names, n=1)
        raise CommandLineError(
            f"{getattr(value, '__name__', module_name)} has no attribute {name!r}",
            expected=f"one of {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}",
            fix=f"did you mean {close[0]!r}?" if close else None,
        ) from error


def _fix_without_colon(place: str) -> str | None:
    if place.endswith((".pt", ".pth", ".safetensors", ".bin")):
        return "a file of weights holds no program: name the nn.Module in Python that loads it"
    if place.endswith(".py"):
        return f"say which object of it: {place}:model"
    return f"{place}:model" if place.isidentifier() else None


def _close_file(path: Path) -> str | None:
    if not path.parent.is_dir():
        return None
    names = [other.name for other in path.parent.glob("*.py")]
    close = difflib.get_close_matches(path.name, names, n=1)
    return f"did you mean {path.parent / close[0]}?" if close else None
