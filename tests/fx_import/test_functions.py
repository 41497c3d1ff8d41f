# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The function of a program: its parameters and results, globals, constants, errors."""

from __future__ import annotations

import math
import re

import pytest
import torch

from shark_turbine import ir
from shark_turbine.errors import TracingError, UnsupportedTypeError
from shark_turbine.fx_import import ProgramImporter
from tests.ops import harness


class Counter(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(4, 4))
        self.register_buffer("count", torch.zeros(2, dtype=torch.int32))

    def forward(self, x):
        before = self.count.clone()
        self.count += 1
        return x @ self.weight, before, self.count


def import_text(program, **options) -> str:
    module = harness.new_module()
    ProgramImporter(module).import_function(program, name="f", **options)
    return str(module)


def test_mutated_buffer_is_loaded_and_stored():
    program = harness.export(Counter(), (torch.ones(1, 4),))
    source = 'util.global private mutable @"_c.count" = dense<0> : tensor<2xi32>'
    module = ir.Module.parse(source, ir.Context())
    importer = ProgramImporter(module)
    importer.import_function(program, name="f", globals={"count": "_c.count"}, visibility="public")
    assert module.operation.verify()
    text = str(module)
    assert text.count("util.global.load") == 1
    assert text.index("util.global.load") < text.index("util.global.store")
    artifact = harness.Artifact(harness.compile_module(module))
    like = [torch.ones(1, 4), torch.zeros(2, dtype=torch.int32), torch.zeros(2, dtype=torch.int32)]
    for turn in range(3):
        _, before, after = artifact.call("f", [torch.ones(1, 4)], like)
        assert before.tolist() == [turn, turn]
        assert after.tolist() == [turn + 1, turn + 1]


def test_mutated_buffer_that_is_no_global_is_refused():
    program = harness.export(Counter(), (torch.ones(1, 4),))
    with pytest.raises(TracingError, match="mutates the buffer 'count'"):
        import_text(program)


def test_mutated_input_is_an_extra_result():
    def f(x, y):
        x.add_(1)
        y.copy_(x)
        return x * y

    program = harness.export(f, (torch.ones(3), torch.zeros(3)))
    text = import_text(program)
    assert text.count("!torch.tensor") == 0
    artifact = harness.Artifact(harness.compile_module(harness.import_all({"f": program})))
    results = artifact.call("f", [torch.ones(3), torch.zeros(3)], [torch.ones(3)] * 3)
    assert [result.tolist() for result in results] == [[4.0] * 3, [2.0] * 3, [2.0] * 3]


def test_constants_are_stored_once_and_not_copied():
    shared = torch.randn(64, 64)
    programs = {
        "f": harness.export(lambda x: x @ shared, (torch.ones(1, 64),)),
        "g": harness.export(lambda x: shared @ x, (torch.ones(64, 1),)),
    }
    text = str(harness.import_all(programs))
    resources = re.findall(r"^ +(torch_tensor_\w+):", text, re.MULTILINE)
    assert resources == ["torch_tensor_64_64_f32"]


def test_results_in_order_and_repeated():
    program = harness.export(lambda x, k: (x, x + k, 5, None, x), (torch.ones(2), 3))
    text = import_text(program)
    assert "(%arg0: !torch.vtensor<[2],f32>) -> (!torch.vtensor<[2],f32>, " in text
    assert re.search(r"return %arg0, %\w+, %arg0", text)


def test_unknown_operator_names_operator_and_line():
    program = harness.export(lambda x: x + 1, (torch.ones(2),))
    (node,) = [node for node in program.graph.nodes if node.op == "call_function"]
    node.target = math.hypot
    with pytest.raises(TracingError, match=r"test_functions.py:\d+\).*hypot"):
        import_text(program)


def test_fake_constant_is_refused():
    from torch._subclasses.fake_tensor import FakeTensorMode

    program = harness.export(Counter().requires_grad_(False), (torch.ones(1, 4),))
    with FakeTensorMode():
        program.state_dict["weight"] = torch.ones(4, 4)
    with pytest.raises(TracingError, match="has no data"):
        import_text(program, globals={"count": "c"})


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 0), (400, 7)])
@pytest.mark.parametrize(
    "name", ["f32", "bf16", "f16", "f64", "bool", "u8", "i8", "i64", "complex64"]
)
def test_constant_round_trip(name, shape):
    from shark_turbine import dtypes

    row = dtypes.from_name(name)
    count = max(1, int(torch.tensor(shape).prod())) if shape else 1
    values = (torch.arange(count) % 3 - (0 if name in {"u8", "bool"} else 1)).to(row.torch)
    tensor = values[: int(torch.Size(shape).numel())].reshape(shape)
    module = harness.new_module()
    from shark_turbine.fx_import.literals import LiteralTable

    with module.context, ir.Location.unknown(), ir.InsertionPoint(module.body):
        LiteralTable(module.context).literal(tensor)
    assert module.operation.verify()


@pytest.mark.filterwarnings("ignore:ComplexHalf")
def test_dtype_without_a_row():
    program = harness.export(lambda x: x + 1, (torch.ones(2),))
    for node in program.graph.nodes:
        if node.op == "placeholder":
            result = program.graph.output_node().args[0][0].meta["val"]
            node.meta["val"] = result.to(torch.complex32)
            node.meta.pop("tensor_meta", None)
    with pytest.raises(UnsupportedTypeError):
        import_text(program)
