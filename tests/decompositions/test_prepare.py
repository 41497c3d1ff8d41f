# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Prepared programs: what is written in, what is left out; no MLIR needed."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import torch
from torch.export import Dim

from shark_turbine.decompositions import extend_aot_decompositions
from tests.ops import harness

aten = torch.ops.aten


def targets(program):
    return [node.target for node in program.graph.nodes if node.op == "call_function"]


def messages(program):
    return [node.args[1] for node in program.graph.nodes if node.target is aten._assert_async.msg]


def test_needs_no_mlir():
    script = """
import sys
sys.modules["iree"] = None
import torch
from shark_turbine.decompositions import prepare
class M(torch.nn.Module):
    def forward(self, x): return torch.xlogy(x, x)
prepare(torch.export.export(M(), (torch.ones(2),), strict=False))
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_argument_stays_as_it_is():
    module = harness._Function(lambda x: torch.xlogy(x, x))
    program = torch.export.export(module, (torch.ones(2),), strict=False)
    before = str(program.graph)
    from shark_turbine.decompositions import prepare

    prepare(program)
    assert str(program.graph) == before


def test_required_rewrites_hold_under_a_table_of_the_user():
    with extend_aot_decompositions(from_current=False):
        program = harness.export(lambda a, b: a & b, (torch.ones(2, dtype=torch.bool),) * 2)
    assert targets(program) == [aten.bitwise_and.Tensor]


def test_message_names_operator_and_line():
    program = harness.export(
        lambda w, i: torch.nn.functional.embedding(i, w), (torch.ones(4, 2), torch.tensor([1]))
    )
    (message,) = messages(program)
    assert message.startswith("aten.embedding: index out of range in dimension 0 (")
    # Without its folder: the message goes into the artifact.
    assert re.search(r"\((tests/decompositions/)?test_prepare\.py:\d+\)$", message)


W = torch.ones(6, 4)
I = torch.tensor([1, 2])  # noqa: E741


@pytest.mark.parametrize(
    ("function", "arguments", "count"),
    [
        (lambda w: w[torch.arange(6)], (W,), 0),
        (lambda w: w[torch.arange(7) - 1], (W,), 0),
        (lambda w: w[torch.arange(8)], (W,), 1),
        (lambda w: w[torch.tensor([0, -6])], (W,), 0),
        (lambda w, i: w[i.clamp(0, 5)], (W, I), 0),
        (lambda w, i: w[i.clamp(0, 6)], (W, I), 1),
        (lambda w: w.gather(1, w.argmax(1, keepdim=True)), (W,), 0),
        (lambda w: w.gather(1, w.max(1, keepdim=True)[1]), (W,), 0),
        (lambda w, i: w[i] + w[i], (W, I), 1),
        (lambda w, i: w[torch.where(i > 3, torch.full_like(i, 5), torch.zeros_like(i))], (W, I), 0),
        (lambda w, i: w[i.to(torch.int32)], (W, I), 1),
        (lambda w, i: w.index_select(0, torch.zeros_like(i)), (W, I), 0),
        (lambda w, i: i // 3, (W, I), 0),
        (lambda w, i: i // i, (W, I), 1),
        (lambda w, i: i % (i.clamp(1, 5)), (W, I), 0),
        (lambda w, i: w // w, (W, I), 0),
    ],
)
def test_checks_only_what_is_not_proven(function, arguments, count):
    assert len(messages(harness.export(function, arguments))) == count


def test_a_dynamic_length_lies_below_itself():
    n = Dim("n", min=2, max=50)
    program = harness.export(lambda x: x[torch.arange(x.shape[0])], (W,), dynamic_shapes=({0: n},))
    assert messages(program) == []
    program = harness.export(
        lambda x, t: t[torch.arange(x.shape[0])],
        (W, torch.ones(50)),
        dynamic_shapes=({0: n}, None),
    )
    assert messages(program) == []
