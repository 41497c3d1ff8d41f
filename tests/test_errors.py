# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The shape of messages, and what a user's `except` catches."""

from __future__ import annotations

import pickle
import runpy
from pathlib import Path

import pytest

from shark_turbine import errors
from shark_turbine.errors import (
    CompileError,
    DeclarationError,
    Diagnostic,
    LoadError,
    SourceLocation,
    TurbineError,
)


def test_the_four_parts_in_their_order() -> None:
    error = LoadError(
        "it is damaged",
        where="model.vmfb",
        location=SourceLocation("a.py", 3),
        fix="make it anew",
        got="two\nlines",
        expected="a file",
    )
    assert str(error) == (
        "model.vmfb (a.py:3): it is damaged\n"
        "  got:      two\n"
        "            lines\n"
        "  expected: a file\n"
        "  fix:      make it anew"
    )


def test_parts_that_are_not_known_are_left_out() -> None:
    assert str(LoadError("it is damaged")) == "it is damaged"
    assert str(LoadError("it is damaged", got=0)) == "it is damaged\n  got:      0"
    located = LoadError("it is damaged", location=SourceLocation("a.py", 3))
    assert str(located) == "(a.py:3): it is damaged"


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("DeclarationError", TypeError),
        ("DimensionError", ValueError),
        ("TracingError", RuntimeError),
        ("UnsupportedTypeError", TypeError),
        ("ArgumentError", ValueError),
        ("ContractError", RuntimeError),
        ("ExecutionError", RuntimeError),
        ("LoadError", RuntimeError),
        ("VersionError", RuntimeError),
        ("CompileError", RuntimeError),
        ("SaveError", OSError),
    ],
)
def test_every_error_is_also_a_builtin_one(name: str, builtin: type[Exception]) -> None:
    kind = getattr(errors, name)
    assert issubclass(kind, TurbineError)
    assert issubclass(kind, builtin)
    assert str(kind("no", fix="yes")).splitlines()[-1] == "  fix:      yes"


def test_declaring_and_tracing_name_the_running_line(tmp_path: Path) -> None:
    script = tmp_path / "user.py"
    script.write_text(
        "from shark_turbine.errors import DeclarationError\n\nraise DeclarationError('no')\n"
    )
    with pytest.raises(DeclarationError) as caught:
        runpy.run_path(str(script))
    assert caught.value.location == SourceLocation(str(script), 3)
    assert LoadError("no").location is None


def test_a_place_is_filled_in_where_it_was_not_known() -> None:
    error = LoadError("no")
    error.name_place("Model.run", SourceLocation("a.py", 3))
    assert str(error) == "Model.run (a.py:3): no"
    error.name_place("Other", SourceLocation("b.py", 4))
    assert str(error) == "Model.run (a.py:3): no"


def test_locations() -> None:
    location = SourceLocation.from_function(test_locations)
    assert location.source_line() == "def test_locations() -> None:"
    assert location == SourceLocation.from_function(test_locations.__code__)
    assert SourceLocation("no such file", 1).source_line() == ""
    here = SourceLocation.of_user()
    assert here is not None
    assert here.source_line() == "here = SourceLocation.of_user()"


def test_compile_errors_carry_what_the_compiler_said() -> None:
    diagnostic = Diagnostic("error", "no such op", SourceLocation("a.py", 3))
    error = CompileError("refused", diagnostics=[diagnostic], stage="import")
    assert (error.diagnostics, error.stage) == ((diagnostic,), "import")
    assert str(diagnostic) == "a.py:3: error: no such op"
    assert str(Diagnostic("note", "see")) == "note: see"


def test_errors_keep_their_text_when_pickled() -> None:
    copy = pickle.loads(pickle.dumps(LoadError("no", where="m.vmfb")))
    assert "m.vmfb: no" in str(copy)
