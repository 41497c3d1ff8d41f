# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Every exception that a user of shark_turbine can meet, and the one shape of their messages.

A message has up to four parts, always in this order::

    <Module>.<member> (<file>:<line>): <what is wrong, in the user's words>
      got:      <their value>
      expected: <the accepted forms>
      fix:      <one concrete line they can write>

Under it, a traceback shows a note (PEP 678) that says where the error is documented; the message
itself, `str(error)`, is without it.
"""

from __future__ import annotations

import inspect
import linecache
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any, ClassVar, TypeVar

_E = TypeVar("_E", bound="TurbineError")

# The document of the errors, in the repository: each class of this module has its section there.
ERRORS_DOCUMENT = "docs/errors.md"

_MACHINERY = ("shark_turbine", "torch", "contextlib", "functools", "runpy", "importlib")


@dataclass(frozen=True, slots=True)
class SourceLocation:
    """A line of the user's source: what `(<file>:<line>)` in a message shows.

    Attributes:
        file: the path, as Python knows it.
        line: counted from 1.
    """

    file: str
    line: int

    @classmethod
    def from_function(cls, function: FunctionType | CodeType) -> SourceLocation:
        """Return the line on which a Python `function` is defined."""
        code = function if isinstance(function, CodeType) else function.__code__
        return cls(code.co_filename, code.co_firstlineno)

    @classmethod
    def of_user(cls) -> SourceLocation | None:
        """Return the user's line that is running: neither this package's nor torch's."""
        frame: FrameType | None = inspect.currentframe()
        while frame is not None:
            if str(frame.f_globals.get("__name__", "")).split(".")[0] not in _MACHINERY:
                return cls(frame.f_code.co_filename, frame.f_lineno)
            frame = frame.f_back
        return None

    def source_line(self) -> str:
        """Return the text of the line, stripped; empty where the file cannot be read."""
        return linecache.getline(self.file, self.line).strip()

    def without_folders(self) -> SourceLocation:
        """Return the line with its file as it is imported: `transformers/models/bert/modeling_bert.py`.

        What goes into artifacts holds no folders of the machine that made them.
        """
        path = Path(self.file)
        folders = [Path(entry or ".").absolute() for entry in sys.path]
        around = [folder for folder in folders if path.is_relative_to(folder)]
        if not around:
            return SourceLocation(path.name, self.line)
        longest = max(around, key=lambda folder: len(folder.parts))
        return SourceLocation(path.relative_to(longest).as_posix(), self.line)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class TurbineError(Exception):
    """Base of every error that shark_turbine raises on purpose.

    Args:
        what: what is wrong, one sentence in the user's words, no full stop.
        where: the user's thing, such as `SimpleParamsModule.run`.
        location: the source line that declares it or that went wrong. Errors of declaring and
            tracing name by default the user's line that is running.
        got: the value met.
        expected: the accepted forms.
        fix: one concrete line that the user can write.
    """

    _names_running_line: ClassVar[bool] = False

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        location: SourceLocation | None = None,
        got: object = None,
        expected: object = None,
        fix: object = None,
    ) -> None:
        self.what = what
        self.where = where
        if location is None and self._names_running_line:
            location = SourceLocation.of_user()
        self.location = location
        self.got = got
        self.expected = expected
        self.fix = fix
        super().__init__(self._message())
        self.add_note(f"  see:      {self.documentation()}")

    @classmethod
    def documentation(cls) -> str:
        """Return where this kind of error is explained, with a mistake and its cure.

        It is an address on the `Documentation` site that the metadata of the installed package names,
        and without one the place in the repository, such as `docs/errors.md#contracterror`.
        """
        kind = next(kind for kind in cls.__mro__ if kind.__module__ == __name__)
        return f"{_errors_page()}#{kind.__name__.lower()}"

    def name_place(self, where: str, location: SourceLocation | None = None) -> None:
        """Say whose error it is, where the raise site did not know.

        Args:
            where: the user's thing.
            location: its line.
        """
        self.where = self.where or where
        self.location = self.location or location
        self.args = (self._message(),)

    def change_fix(self, fix: object) -> None:
        """Say how to mend it in other words, those of who called: `fix`."""
        self.fix = fix
        self.args = (self._message(),)

    def __reduce__(self) -> tuple[Any, ...]:
        # Not through `__init__`: it would name the line that unpickles, and add a second note.
        return _restore, (type(self), self.args, self.__dict__)

    def _message(self) -> str:
        lines = [f"{self._head()}{self.what}"]
        for label, part in (("got:", self.got), ("expected:", self.expected), ("fix:", self.fix)):
            if part is not None:
                lines.append(f"  {label:<9} {_indented(str(part))}")
        return "\n".join(lines)

    def _head(self) -> str:
        if self.where is None and self.location is None:
            return ""
        place = f"({self.location})" if self.location is not None else ""
        return " ".join(part for part in (self.where, place) if part) + ": "


def _restore(kind: type[_E], arguments: tuple[Any, ...], attributes: dict[str, Any]) -> _E:
    """Make an error that was pickled or copied again: its message, its parts, its notes."""
    error = kind.__new__(kind)
    error.args = arguments
    error.__dict__.update(attributes)
    error.__notes__ = list(attributes.get("__notes__", ()))
    return error


@cache
def _errors_page() -> str:
    """Return the address of the page of the errors, without an anchor."""
    # Reading metadata costs 20 ms of start-up, and most programs never see an error.
    from importlib import metadata  # noqa: PLC0415

    try:
        addresses = metadata.metadata("shark-turbine").get_all("Project-URL") or []
    except metadata.PackageNotFoundError:  # a source tree on the path
        addresses = []
    for address in addresses:
        label, _, url = address.partition(",")
        if label.strip().lower() == "documentation":
            return f"{url.strip().rstrip('/')}/errors.html"
    return ERRORS_DOCUMENT


def _indented(text: str) -> str:
    """Keep the lines of a many-line part aligned under its first."""
    return text.replace("\n", "\n            ")


class DeclarationError(TurbineError, TypeError):
    """A class body, signature or option declares something that has no meaning."""

    _names_running_line = True


class DimensionError(TurbineError, ValueError):
    """A dynamic dimension contradicts itself, its range, or what the function needs."""

    _names_running_line = True


class TracingError(TurbineError, RuntimeError):
    """A procedure or jittable could not be traced: what it does cannot be recorded."""

    _names_running_line = True


class UnsupportedTypeError(TurbineError, TypeError):
    """A value, dtype or operator cannot be carried into a compiled module."""

    _names_running_line = True


class ArgumentError(TurbineError, ValueError):
    """A call of a loaded function has the wrong number, structure, shape or dtype of arguments."""


class ContractError(TurbineError, RuntimeError):
    """A check inside the artifact refused a call: the broken contract is the message."""


class IndexContractError(ContractError, IndexError):
    """An index of a call is out of range; the message names the operator and its source line."""


class ExecutionError(TurbineError, RuntimeError):
    """A call of a loaded function failed inside the runtime: out of memory, an unknown device."""


class StateError(TurbineError, RuntimeError):
    """A state does not fit the module that should take it, or cannot be read from the module."""


class LoadError(TurbineError, RuntimeError):
    """A vmfb cannot be loaded here: damaged, another version, another machine."""


class ParameterError(LoadError):
    """Parameters are missing or are not those of the module, or their file is damaged.

    `problems` holds a line for everything that does not fit.
    """

    def __init__(
        self,
        what: str,
        *,
        problems: Sequence[str] = (),
        where: str | None = None,
        got: object = None,
        expected: object = None,
        fix: object = None,
    ) -> None:
        self.problems = tuple(problems)
        super().__init__(what, where=where, got=got, expected=expected, fix=fix)


class CommandLineError(TurbineError, ValueError):
    """The command `shark-turbine` was told something that it cannot do."""


class VersionError(TurbineError, RuntimeError):
    """An installed package is outside the range that this release supports."""


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One message of the compiler.

    Attributes:
        severity: `error`, `warning`, `note` or `remark`.
        message: what it says.
        location: the Python source line that the operation came from; None where it is not known.
    """

    severity: str
    message: str
    location: SourceLocation | None = None

    def __str__(self) -> str:
        place = f"{self.location}: " if self.location is not None else ""
        return f"{place}{self.severity}: {self.message}"


class CompileError(TurbineError, RuntimeError):
    """The compiler refused the module, crashed, or ran out of time.

    `diagnostics` holds what it said, each with the Python source line where one is known; `stage`
    is where it stopped, such as `import`, `compile` or `crash`.
    """

    def __init__(
        self,
        what: str,
        *,
        diagnostics: Sequence[Diagnostic] = (),
        stage: str = "compile",
        where: str | None = None,
        location: SourceLocation | None = None,
        got: object = None,
        expected: object = None,
        fix: object = None,
    ) -> None:
        self.diagnostics = tuple(diagnostics)
        self.stage = stage
        super().__init__(what, where=where, location=location, got=got, expected=expected, fix=fix)


class TuningError(TurbineError, RuntimeError):
    """A program cannot be tuned: it does not run here, or its results cannot be compared."""


class SaveError(TurbineError, OSError):
    """A file cannot be written where it should go; what was there before is untouched."""


class FallbackWarning(UserWarning):
    """Part of a program that `torch.compile` compiles runs in eager PyTorch."""


class TrainingModeWarning(UserWarning):
    """A model is exported in training mode, with layers that compute something else in use."""
