# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The page of every operator says what a walk found, and counts it."""

from __future__ import annotations

from typing import Any

from tests.ops import table, walk


def row(op: str, outcome: str, dtype: str = "float32", index: int = 0, detail: str = "") -> Any:
    return {
        "op": op, "variant": "", "dtype": f"torch.{dtype}", "index": index, "outcome": outcome,
        "detail": detail,
    }  # fmt: skip


def test_a_page_counts_samples_and_operators() -> None:
    text = table.page(
        [
            row("add", "pass"),
            row("add", "pass", "int64"),
            row("inv", "does not legalize", detail="failed to legalize operation 'torch.aten.inv'"),
            row("pool", "pass"),
            row("pool", "does not compile", "int64", detail="no such thing | at all"),
            row("sort", "wrong numbers", detail="2 of 3 elements differ"),
            row("rand", "random", detail="two eager calls differ"),
        ]
    )
    assert "| supported: the same as eager | 3 | 1 | |" in text
    assert "| supported in some samples | | 1 | |" in text
    assert "| refused: an error, no result | 2 | 1 | |" in text
    assert "| wrong | 1 | 1 | named below |" in text
    assert "## Supported in every sample\n\n`add`\n" in text
    assert "| `inv` | refused | – | – | – | the compiler has no `aten.inv` |" in text
    assert "| `pool` | yes | – | refused | – | no such thing / at all |" in text
    assert "| `sort` | wrong | – | – | – | 2 of 3 elements differ |" in text
    assert "## Not judged\n\n`rand`\n" in text


def test_of_two_walks_the_later_counts() -> None:
    text = table.page(
        [row("add", "wrong numbers"), row("add", "pass"), row("add", "pass", index=1)]
    )
    assert "| wrong | 0 | 0 | named below |" in text
    assert "| supported: the same as eager | 2 | 1 | |" in text


def test_every_outcome_of_a_walk_has_a_verdict() -> None:
    sample = walk.Sample("add", "", walk.torch.float32, 0, lambda: None, [])
    assert walk.compile_class("failed to legalize operation") in table.VERDICTS
    assert walk.compile_class("something else") in table.VERDICTS
    assert set(table.CAUSES) <= set(table.VERDICTS)
    assert sample.result("pass").outcome in table.VERDICTS
