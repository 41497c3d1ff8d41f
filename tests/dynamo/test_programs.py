# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Programs that eager runs, compiled: the same results, strides, aliases and side effects."""

from __future__ import annotations

import collections

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from shark_turbine.dynamo import explain

from .conftest import check, compiled, same


def test_the_documented_program():
    class LinearModule(nn.Module):
        def __init__(self, in_features, out_features):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(in_features, out_features))
            self.bias = nn.Parameter(torch.randn(out_features))

        def forward(self, input):
            return (input @ self.weight) + self.bias

    module = LinearModule(4, 3)
    x = torch.randn(4)
    same(compiled(module)(x), module(x))


# ------------------------------------------------------------------------------- arguments and results --


def test_numbers_as_arguments():
    def f(x, n, scale, flag):
        y = x * n + scale
        return (y if flag else -y), n + 1, None, "name"

    check(f, torch.randn(3), 4, 0.5, True)


@pytest.mark.parametrize("n", [2, 3, 7])
def test_symbolic_numbers(n):
    def f(x, k):
        return x.repeat(k, 1) * k, x.shape[0] * k

    check(f, torch.randn(5, 3), n, dynamic=True)


def test_containers():
    Point = collections.namedtuple("Point", ["x", "y"])

    def f(data):
        a, (b, c) = data["a"], data["rest"]
        return {"sum": a + b.x, "more": [b.y * 2, (c, None)], "point": Point(a, c.sin())}

    a, b, c = torch.randn(3), Point(torch.randn(3), torch.randn(2)), torch.randn(4)
    wrapped = compiled(f)({"a": a, "rest": (b, c)})
    expected = f({"a": a, "rest": (b, c)})
    same(wrapped["sum"], expected["sum"])
    same(wrapped["more"], expected["more"])
    same(tuple(wrapped["point"]), tuple(expected["point"]))


def test_a_result_that_is_an_argument():
    def f(x, y):
        return x, x + y, y

    x, y = torch.randn(3), torch.randn(3)
    results = compiled(f)(x, y)
    assert results[0] is x
    assert results[2] is y


def test_equal_results_are_two_tensors():
    def f(x):
        return x + 1, x + 1, x * 1

    x = torch.randn(64, 64)
    first, second, third = compiled(f)(x)
    first.zero_()
    third.zero_()
    same(second, x + 1)
    assert x.abs().sum() > 0


def test_a_part_of_a_result_is_of_its_own():
    def f(x):
        y = x * 2
        return y, y[2:].clone(), y + 0

    x = torch.randn(8, 16)
    whole, part, again = compiled(f)(x)
    whole.zero_()
    same(part, x[2:] * 2)
    same(again, x * 2)


def test_views_of_arguments_and_of_results_alias():
    def f(x):
        y = x * 2
        return x.t(), y, y.view(-1), y[0]

    x = torch.randn(3, 4)
    transposed, y, flat, row = compiled(f)(x)
    same(transposed, x.t())
    assert transposed.data_ptr() == x.data_ptr()
    y.fill_(7)
    assert flat.eq(7).all()
    assert row.eq(7).all()


def test_strides_are_those_of_eager():
    def f(x):
        return (
            (x + 1).transpose(0, 2),
            x.permute(2, 0, 1) * 2,
            (x @ x.transpose(1, 2)).transpose(1, 2),
        )

    results = compiled(f)(torch.randn(3, 4, 5))
    results[0].permute(2, 1, 0).view(-1)  # what eager allows
    check(f, torch.randn(3, 4, 5))


def test_channels_last():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1)).eval()
    model = model.to(memory_format=torch.channels_last)
    x = torch.randn(2, 3, 10, 10).to(memory_format=torch.channels_last)
    with torch.no_grad():
        result, expected = compiled(model)(x), model(x)
    torch.testing.assert_close(result, expected)
    assert result.is_contiguous(memory_format=torch.channels_last)


# ------------------------------------------------------------------------------------------- mutation --


def test_arguments_changed_in_place():
    def f(x, y):
        x.add_(1)
        y[0] = 5
        z = x * y
        y.mul_(2)
        return z

    check(f, torch.randn(3, 4), torch.randn(3, 4))


def test_an_argument_copied_from_another():
    def f(x, y):
        x.copy_(y)
        return x + y

    check(f, torch.randn(4), torch.randn(4))


def test_a_view_changed_in_place():
    def f(x):
        x[1].mul_(3)
        x.t()[0].zero_()
        return x.sum()

    check(f, torch.randn(3, 4))


def test_integers_changed_in_place():
    def f(x):
        x += 2
        return x.sum()

    check(f, torch.arange(5))
    check(f, torch.arange(5, dtype=torch.uint8))


def test_parameters_changed_in_place_are_seen():
    model = nn.Linear(4, 3)
    wrapped = compiled(model)
    x = torch.randn(2, 4)
    same(wrapped(x), model(x))
    with torch.no_grad():
        model.weight.mul_(2)
    model.bias.data += 1
    same(wrapped(x), model(x))


def test_batch_norm_in_training():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4))
    other = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4))
    other.load_state_dict(model.state_dict())
    wrapped = compiled(model)
    for _ in range(3):
        x = torch.randn(4, 2, 6, 6)
        torch.testing.assert_close(wrapped(x), other(x), rtol=1e-4, atol=1e-5)
    for name, buffer in model.named_buffers():
        torch.testing.assert_close(buffer, dict(other.named_buffers())[name])
    assert model[1].num_batches_tracked == 3


# --------------------------------------------------------------------------------------------- shapes --


def test_the_second_shape_compiles_once_more_and_the_third_not():
    graphs = []

    def count(graph_module, example_inputs):
        from shark_turbine.dynamo import turbine_cpu

        graphs.append(graph_module)
        return turbine_cpu(graph_module, example_inputs)

    def f(x):
        return (x * 2).softmax(-1) @ x.transpose(-1, -2)

    wrapped = torch.compile(f, backend=count)
    for rows in (3, 5, 8, 13):
        x = torch.randn(2, rows, 4)
        same(wrapped(x), f(x))
    assert len(graphs) == 2


@pytest.mark.parametrize("shape", [(2, 3), (4, 3), (5, 7)])
def test_dynamic_shapes(shape):
    def f(x, y):
        z = torch.cat([x, y], 0)
        return z.view(-1, 2 * z.shape[1]).mean(0), z.reshape(-1)[: x.numel()], z.shape[0]

    x = torch.randn(*shape)
    check(f, x, torch.randn(*shape), dynamic=True)


def test_sums_of_sizes():
    def f(x, y):
        z = torch.cat([x, x[:, 2:], y], 1)
        n = torch.sym_sum([x.shape[1], x.shape[1] - 2, y.shape[1]])
        return z.view(x.shape[0], n, 1) * 2

    check(f, torch.randn(3, 11), torch.randn(3, 5), dynamic=True)


def test_positions_looked_up_as_text_models_do():
    tokens, kinds, places = torch.randn(96, 32), torch.randn(2, 32), torch.randn(64, 32)
    numbers, zeros = torch.arange(64)[None], torch.zeros(1, 64, dtype=torch.long)

    def f(ids):
        batch, length = ids.shape
        position = numbers[:, :length]
        kind = zeros.expand(position.shape[0], -1).gather(1, position).expand(batch, length)
        return tokens[ids] + F.embedding(kind, kinds) + F.embedding(position, places)

    check(f, torch.randint(0, 96, (3, 11)), dynamic=True)


def test_a_size_of_one_and_of_nothing_after_others():
    def f(x):
        return x.relu().sum(0), x * 2

    wrapped = compiled(f)
    for rows in (4, 6, 1, 0):
        x = torch.randn(rows, 3)
        same(wrapped(x), f(x))


def test_empty_tensors():
    check(lambda x: x + 1, torch.empty(0))
    check(lambda x, y: (x @ y, x.sum(), torch.cat([x, x])), torch.empty(3, 0), torch.empty(0, 4))


def test_tensors_without_dims():
    check(lambda x, y: (x * y, x.exp(), y > 2), torch.tensor(2.0), torch.tensor(3))


# --------------------------------------------------------------------------------------------- memory --


def test_memory_of_every_layout():
    base = torch.randn(12, 10)
    raw = torch.randn(101)
    layouts = {
        "transposed": base.t(),
        "with gaps": base[::2, 1:8:3],
        "unaligned": raw[1:].view(10, 10),
        "expanded": torch.randn(10, 1).expand(10, 10),
        "flipped": base.flip(0),
    }
    for x in layouts.values():
        check(lambda x: (x * 2 + 1, x.sum(0), x.t()), x)
        torch._dynamo.reset()


def test_gradients_of_non_contiguous_memory():
    def f(x):
        return (x.t() @ x).tanh().sum()

    x = torch.randn(8, 6).t().requires_grad_()
    y = x.detach().clone().requires_grad_()
    compiled(f)(x).backward()
    f(y).backward()
    torch.testing.assert_close(x.grad, y.grad)


@pytest.mark.parametrize(
    "dtype",
    [
        torch.float16,
        torch.bfloat16,
        torch.float32,
        torch.float64,
        torch.int8,
        torch.uint8,
        torch.int16,
        torch.int32,
        torch.int64,
        torch.bool,
    ],
)
def test_dtypes(dtype):
    x = torch.arange(-4, 8).reshape(3, 4).abs().to(dtype)
    y = torch.arange(12).reshape(3, 4).remainder(5).to(dtype)

    def f(x, y):
        if dtype is torch.bool:
            return x & y, x | y, ~x, x.sum(), torch.where(x, 1.0, 2.0)
        return x + y, x * 2, x.to(torch.float32) / 3, (x > y), x.sum(), torch.where(x > y, x, y)

    check(f, x, y)


def test_double_precision_keeps_its_precision():
    x = torch.randn(100, dtype=torch.float64)
    check(lambda x: (x * 1e-12 + 1, x.sqrt(), x.mean()), x.abs())


def test_functions_of_double_precision_that_the_target_lacks():
    check(lambda x: torch.cos(x) + 1, torch.randn(5, dtype=torch.float64), falls_back=True)


# --------------------------------------------------------------------------------------- control flow --


def test_graph_breaks():
    def f(x):
        y = x * 2
        if y.abs().sum() >= 0:
            y = y + 1
        torch._dynamo.graph_break()
        return y.relu()

    x = torch.randn(5)
    check(f, x)
    report = explain(f)(x)
    assert len(report.graphs) == 3
    assert len(report.breaks) == 2


def test_python_side_effects():
    seen = []

    def f(x):
        seen.append(x.shape)
        return x + len(seen)

    wrapped = compiled(f)
    same(wrapped(torch.zeros(2)), torch.ones(2))
    assert len(seen) == 1


def test_tensors_made_inside():
    def f(n):
        return torch.arange(10) * 2, torch.ones(3, 4) / 3, torch.tensor([1.0, 2.0, 3.0])

    check(f, 1)


def test_an_error_of_eager_is_an_error():
    def f(table, index):
        return torch.nn.functional.embedding(index, table)

    table = torch.randn(10, 4)
    wrapped = compiled(f)
    same(wrapped(table, torch.tensor([1, 9])), f(table, torch.tensor([1, 9])))
    with pytest.raises(IndexError, match="index out of range"):
        wrapped(table, torch.tensor([1, 10]))
    same(wrapped(table, torch.tensor([0, 3])), f(table, torch.tensor([0, 3])))


def test_a_product_over_nothing():
    check(lambda x, y: x @ y, torch.randn(4, 0), torch.randn(0, 3))
