# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""One cache for both roads: what `aot` and what `torch.compile` compile share folder, locks and bounds."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from shark_turbine import aot
from tests.compiler.cache.conftest import entries


def ahead() -> None:
    x = torch.randn(5)
    aot.export(lambda x: torch.sin(x) + 2, x).compile()


def just_in_time(function: Callable[[torch.Tensor], torch.Tensor] = torch.cos) -> None:
    x = torch.randn(5)
    torch._dynamo.reset()
    compiled = torch.compile(lambda x: function(x) + 2, backend="turbine_cpu")
    torch.testing.assert_close(compiled(x), function(x) + 2)


def test_both_roads_keep_in_one_folder_within_one_limit(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead()
    (first,) = entries(folder)
    just_in_time()
    (second,) = entries(folder) - {first}
    with monkeypatch.context() as patch:
        patch.setenv("SHARK_TURBINE_COMPILE_WORKER", "0")
        patch.setattr(subprocess, "Popen", None)
        ahead()
        just_in_time()
    assert entries(folder) == {first, second}
    # There is room for two: what was not used for longest goes, whoever put it there.
    os.utime(folder / "vmfb" / first, (1, 1))
    room = 2 * (folder / "vmfb" / second).stat().st_size + 2000
    monkeypatch.setenv("SHARK_TURBINE_CACHE_SIZE", str(room))
    just_in_time(torch.exp)
    left = entries(folder)
    assert len(left) == 2
    assert second in left
    assert first not in left
