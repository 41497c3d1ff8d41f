# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Cutting graphs: pure Python on small graphs."""

from __future__ import annotations

import pytest
import torch
from torch import fx

from shark_turbine.dynamo.layout import inverse, memory_order
from shark_turbine.dynamo.options import Options
from shark_turbine.dynamo.partition import Kind, partition
from shark_turbine.errors import DeclarationError


def stages(text: str) -> str:
    """Cut the graph of lines such as `c = E a b`; a letter for the kind, then the inputs."""
    graph, nodes, kinds = fx.Graph(), {}, {}
    letters = {kind.name[0]: kind for kind in Kind}
    for line in text.split(";"):
        name, _, rest = line.partition("=")
        letter, *inputs = rest.split()
        arguments = tuple(
            nodes.setdefault(each, graph.placeholder(each)) if each not in nodes else nodes[each]
            for each in inputs
        )
        nodes[name.strip()] = graph.create_node(
            "call_function", torch.add, arguments, name=name.strip()
        )
        kinds[nodes[name.strip()]] = letters[letter]
    found = partition(graph, kinds.__getitem__)
    return " | ".join(
        f"{stage.number}: {' '.join(node.name for node in stage.nodes)}" for stage in found
    )


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        ("a = C x; b = C a", "0: a b"),
        ("a = C x; b = E a; c = C b", "0: a | 1: b | 2: c"),
        ("a = E x; b = C a; c = E y", "1: a c | 2: b"),
        ("a = C x; b = E a; c = C x; d = C b c", "0: a c | 1: b | 2: d"),
        ("a = E x; b = V a; c = E b", "1: a b c"),
        ("a = C x; b = V a; c = C b", "0: a b c"),
        ("a = O x; b = C a; c = O b; d = O x", "1: a | 2: b | 3: c d"),
        ("a = C x; b = S a; c = E b", "0: a | 1: c"),
    ],
)
def test_stages(graph, expected):
    assert stages(graph) == expected


@pytest.mark.parametrize(
    ("tensor", "order"),
    [
        (torch.empty(2, 3, 4), None),
        (torch.empty(2, 3).t(), (1, 0)),
        (torch.empty(2, 3, 4).permute(2, 0, 1), (1, 2, 0)),
        (torch.empty(2, 3, 4, 5).to(memory_format=torch.channels_last), (0, 2, 3, 1)),
        (torch.empty(3, 1).expand(3, 4), None),
        (torch.empty(4, 6)[:, ::2], None),
        (torch.empty(0, 3).t(), None),
        (torch.empty(()), None),
        (torch.empty(1, 5, 1).transpose(0, 1), None),
    ],
)
def test_memory_order(tensor, order):
    assert memory_order(tensor) == order
    if order is not None:
        assert tensor.permute(order).is_contiguous()
        assert tensor.permute(order).permute(inverse(order)).stride() == tensor.stride()


def test_options_are_checked():
    assert Options.parse(None) == Options()
    assert Options.parse({"flags": ["--a"], "threads": 2}).flags == ("--a",)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"fallbak": "error"}, "did you mean 'fallback'"),
        ({"fallback": "compile"}, "'eager' or 'error'"),
        ({"threads": 0}, "a number of threads"),
        ({"threads": True}, "a number of threads"),
        ({"freeze": "yes"}, "True or False"),
        ({"flags": "--x"}, "a list of options"),
    ],
)
def test_mistakes_in_options(given, message):
    with pytest.raises(DeclarationError, match=message):
        Options.parse(given)


def test_a_mistake_reaches_the_user_of_torch_compile():
    with pytest.raises(Exception, match="there is no option 'thread'") as caught:
        torch.compile(lambda x: x + 1, backend="turbine_cpu", options={"thread": 1})(torch.ones(2))
    assert isinstance(caught.value.__cause__ or caught.value, Exception)
