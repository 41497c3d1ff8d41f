# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What users read when they make a mistake: each script here fails, and its message is its golden.

A golden holds the whole message as it is printed. To write the goldens anew after a change of
words, and to read them in the diff::

    UPDATE_GOLDENS=1 python -m pytest tests/aot/errors
"""

import os
import runpy
import warnings
from pathlib import Path

import pytest

from shark_turbine.errors import TurbineError

HERE = Path(__file__).parent
MISTAKES = sorted(path for path in HERE.glob("*/*.py"))


def message_of(script: Path) -> str:
    """Run a script and return what a user reads, with paths cut to file names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(TurbineError) as caught:
            runpy.run_path(str(script))
    text = f"{type(caught.value).__name__}: {caught.value}"
    return text.replace(f"{script.parent}/", "") + "\n"


@pytest.mark.parametrize("script", MISTAKES, ids=lambda path: path.relative_to(HERE).as_posix())
def test_the_message_of_a_mistake(script: Path) -> None:
    golden = script.with_suffix(".err")
    message = message_of(script)
    if os.environ.get("UPDATE_GOLDENS"):
        golden.write_text(message)
    assert message == golden.read_text()


def test_every_golden_has_its_mistake() -> None:
    goldens = {path.with_suffix(".py") for path in HERE.glob("*/*.err")}
    assert goldens == set(MISTAKES)
