# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What holds for all tests."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_tests(tmp_path_factory):
    """Keep compiled graphs in a folder of the session: never in the user's, for no process started here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHARK_TURBINE_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield
