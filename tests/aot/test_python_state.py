# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What stays behind in Python is said, and exporting from several threads works."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from shark_turbine import aot


class Remembers(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.seen = torch.zeros(3)

    def forward(self, x):
        self.seen = self.seen + x
        return self.seen


@pytest.mark.parametrize(("strict", "what"), [(True, "an attribute"), (False, r"self\.seen")])
def test_an_attribute_that_forward_assigns_is_warned_of(strict: bool, what: str) -> None:
    with pytest.warns(UserWarning, match=rf"Remembers\.forward changes {what}.*register_buffer"):
        aot.export(Remembers(), torch.ones(3), strict_export=strict)


def test_threads_export_at_the_same_time() -> None:
    def export(_: int) -> str:
        model = torch.nn.Sequential(torch.nn.Conv1d(3, 3, 3), torch.nn.ReLU())
        return str(aot.export(model, torch.ones(1, 3, 8)).mlir_module.operation.name)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(export, range(4))) == ["builtin.module"] * 4
