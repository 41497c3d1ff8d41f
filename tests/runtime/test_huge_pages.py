# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Huge pages: the same results with and without, and only what is new and in use is touched."""

from __future__ import annotations

import mmap
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from shark_turbine import aot, runtime
from shark_turbine.runtime import huge_pages


def huge_bytes() -> int:
    """Return how much of this process lies in huge pages."""
    found = re.search(r"AnonHugePages: +(\d+) kB", Path("/proc/self/smaps_rollup").read_text())
    assert found is not None
    return int(found[1]) * 1024


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1024, 4096), nn.ReLU(), nn.Linear(4096, 1024)).eval()
    path = tmp_path_factory.mktemp("wide") / "wide.vmfb"
    aot.export(model, torch.randn(1, 1024)).compile(save_to=path)
    return model, path


@pytest.mark.parametrize("setting", ["1", "0"])
def test_results_are_the_same_with_and_without(wide, setting: str, monkeypatch) -> None:
    monkeypatch.setenv("SHARK_TURBINE_HUGE_PAGES", setting)
    model, path = wide
    before = huge_bytes()
    loaded = runtime.load(path, device="local-sync")
    x = torch.randn(1, 1024)
    torch.testing.assert_close(loaded.main(x), model(x), rtol=1e-4, atol=1e-5)
    # The packed weights are 32 MiB. A machine that gives no huge pages, or has none left, gives none.
    gained = huge_bytes() - before
    assert gained <= 2 * 40 * 2**20 if huge_pages.are_given() else gained <= 0


def test_memory_that_was_there_is_left_alone() -> None:
    ranges = [(0, 100), (300, 400)]
    assert huge_pages._without((0, 400), ranges) == [(100, 300)]
    assert huge_pages._without((50, 350), ranges) == [(100, 300)]
    assert huge_pages._without((500, 600), ranges) == [(500, 600)]
    assert huge_pages._without((0, 100), ranges) == []


def test_memory_that_nobody_touched_is_not_in_use() -> None:
    size = 2**30  # With what lies beside it, it may be one mapping.
    memory = mmap.mmap(
        -1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ | mmap.PROT_WRITE
    )
    known = huge_pages._large_mappings()
    assert any(
        end - start >= size and not huge_pages._is_in_use((start, end)) for start, end in known
    )
    memory.close()


def test_a_vmfb_is_read_into_private_memory_of_its_size() -> None:
    memory = huge_pages.allocate(huge_pages.LARGE + 3)
    memory[-1] = 7
    assert len(memory) == huge_pages.LARGE + 3
    assert bytes(memory[-2:]) == b"\0\7"
    assert len(huge_pages.allocate(0)) == 0
