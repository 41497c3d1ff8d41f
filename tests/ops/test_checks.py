# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Hostile indices and divisors: the artifact refuses the call and says which operator it was."""

from __future__ import annotations

import pytest
import torch
from torch.export import Dim

from tests.ops import harness

WEIGHT = torch.arange(20.0).reshape(10, 2)
INDEX = torch.tensor([1, 3])
FUNCTIONS = {
    "embedding": lambda w, i: torch.nn.functional.embedding(i, w),
    "index": lambda w, i: w[i],
    "index_second": lambda w, i: w.t()[:, i],
    "gather": lambda w, i: w.gather(0, i[:, None]),
    "index_select": lambda w, i: w.index_select(0, i),
    "index_put": lambda w, i: torch.ops.aten.index_put(w, [i], torch.tensor(1.0)),
    "scatter": lambda w, i: w.scatter(0, i[:, None], 1.0),
    "scatter_add": lambda w, i: w.scatter_add(0, i[:, None], w),
    "index_add": lambda w, i: w.index_add(0, i, w[:2]),
    "take": lambda w, i: w.take(i * 2),
    "embedding_bag": lambda w, i: torch.nn.functional.embedding_bag(i[None], w),
    "cross_entropy": lambda w, i: torch.nn.functional.cross_entropy(w.t(), i),
}
WRAPS = {"index", "index_second", "index_put", "take"}


@pytest.fixture(scope="module")
def artifact():
    programs = {
        name: harness.export(function, (WEIGHT, INDEX)) for name, function in FUNCTIONS.items()
    }
    programs["dynamic"] = harness.export(
        FUNCTIONS["embedding"],
        (WEIGHT, INDEX),
        dynamic_shapes=({0: Dim("rows")}, {0: Dim("n")}),
    )
    programs["divide"] = harness.export(lambda a, b: a // b, (INDEX, INDEX))
    programs["remainder"] = harness.export(lambda a, b: a % b, (INDEX, INDEX))
    return harness.Artifact(harness.compile_module(harness.import_all(programs)))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("bad", [10, -11, 2**40, -(2**40)])
def test_refuses(artifact, name, bad):
    with pytest.raises(RuntimeError, match=r"aten\.\w+: index out of range"):
        artifact.call(name, [WEIGHT, torch.tensor([1, bad])], [WEIGHT])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_takes_what_eager_takes(artifact, name):
    index = torch.tensor([1, -1 if name in WRAPS else 9])
    expected = harness.flat_tensors(FUNCTIONS[name](WEIGHT, index))
    assert harness.mismatch(artifact.call(name, [WEIGHT, index], expected), expected) is None


def test_dynamic_sizes(artifact):
    rows = WEIGHT[:4]
    assert artifact.call("dynamic", [rows, torch.tensor([0, 3, 1])], [rows])[0].tolist() == [
        [0.0, 1.0],
        [6.0, 7.0],
        [2.0, 3.0],
    ]
    with pytest.raises(RuntimeError, match=r"aten.embedding: index out of range in dimension 0"):
        artifact.call("dynamic", [rows, torch.tensor([0, 4, 1])], [rows])


@pytest.mark.parametrize("name", ["divide", "remainder"])
def test_division_by_zero(artifact, name):
    with pytest.raises(RuntimeError, match="integer division by zero"):
        artifact.call(name, [INDEX, torch.tensor([1, 0])], [INDEX])
    artifact.call(name, [INDEX, torch.tensor([1, -2])], [INDEX])
