# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A small transformer whose lines the tests know: each comment names what its line runs."""

import torch

HERE = __file__


class Attention(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.query = torch.nn.Linear(width, width, bias=False)
        self.key = torch.nn.Linear(width, width, bias=False)
        self.value = torch.nn.Linear(width, width, bias=False)

    def forward(self, x):
        q = self.query(x)  # line: query
        k = self.key(x)  # line: key
        v = self.value(x)  # line: value
        return (q @ k.mT).softmax(-1) @ v


class Block(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = torch.nn.LayerNorm(width)
        self.attention = Attention(width)
        self.up = torch.nn.Linear(width, 3 * width, bias=False)
        self.down = torch.nn.Linear(3 * width, width, bias=False)

    def forward(self, x):
        x = x + self.attention(self.norm(x))
        hidden = self.up(x).relu()  # line: up
        return x + self.down(hidden)  # line: down


class Transformer(torch.nn.Module):
    def __init__(self, width=32, layers=2):
        super().__init__()
        self.layers = torch.nn.ModuleList(Block(width) for _ in range(layers))
        self.head = torch.nn.Linear(width, 7, bias=False)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.head(x)  # line: head


def line_of(name):
    """Return the number of the line that runs a module."""
    with open(HERE) as file:
        for number, line in enumerate(file, start=1):
            if line.rstrip().endswith(f"# line: {name}"):
                return number
    raise KeyError(name)
