# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The shape of messages, and what a user's `except` catches."""

from __future__ import annotations

import copy
import pickle
import re
import runpy
import traceback
from collections.abc import Callable
from email.message import Message
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


def test_a_traceback_shows_where_the_error_is_documented() -> None:
    error = LoadError("no", fix="make it anew")
    assert error.documentation() == "docs/errors.md#loaderror"
    assert "".join(traceback.format_exception_only(error)) == (
        "shark_turbine.errors.LoadError: no\n"
        "  fix:      make it anew\n"
        "  see:      docs/errors.md#loaderror\n"
    )
    assert str(error) == "no\n  fix:      make it anew"


def test_an_error_of_another_module_is_documented_as_its_nearest_kind() -> None:
    class OwnError(errors.ContractError):
        pass

    assert OwnError("no").documentation() == "docs/errors.md#contracterror"


def test_the_documentation_site_of_the_package_is_the_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    addresses = Message()
    addresses["Project-URL"] = "Source, https://example.org/source"
    addresses["Project-URL"] = "Documentation, https://example.org/docs/"
    monkeypatch.setattr("importlib.metadata.metadata", lambda _: addresses)
    errors._errors_page.cache_clear()
    try:
        assert LoadError.documentation() == "https://example.org/docs/errors.html#loaderror"
    finally:
        errors._errors_page.cache_clear()


def test_every_kind_has_its_section_with_a_mistake_and_its_cure() -> None:
    text = (Path(__file__).parents[1] / errors.ERRORS_DOCUMENT).read_text()
    _, *sections = re.split(r"^## ", text, flags=re.MULTILINE)
    kinds = {
        name
        for name, kind in vars(errors).items()
        if isinstance(kind, type)
        and issubclass(kind, Exception)
        and kind.__module__ == errors.__name__
    }
    assert {section.splitlines()[0] for section in sections} == kinds
    for section in sections:
        assert re.search(r"^```(text|console)$", section, re.MULTILINE), section[:40]
        assert re.search(r"^```(python|shell|console)$", section, re.MULTILINE), section[:40]


@pytest.mark.parametrize(
    "name", ["DeclarationError", "SaveError", "CompileError", "ParameterError"]
)
@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))]
)
def test_a_copy_of_an_error_says_the_same_once(
    name: str, copied: Callable[[TurbineError], TurbineError]
) -> None:
    error = getattr(errors, name)("no", where="Model.run", got=1, fix="yes")
    error.add_note("mine")
    twin = copied(error)
    assert type(twin) is type(error)
    assert str(twin) == str(error)
    assert vars(twin) == vars(error)
    assert traceback.format_exception_only(twin) == traceback.format_exception_only(error)
    twin.add_note("its own")
    assert "its own" not in error.__notes__
