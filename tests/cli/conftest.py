# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A folder with programs in it, and the command in this process or in one of its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from shark_turbine import cli

PROGRAMS = '''
import inspect

import torch
from shark_turbine import aot

print("the module says something")


class Scale(torch.nn.Module):
    def __init__(self, by=2.0):
        super().__init__()
        self.by = torch.nn.Parameter(torch.tensor([by, by + 1, by + 2]))
        self.drop = torch.nn.Dropout()

    def forward(self, x, shift=None):
        y = self.drop(x) * self.by
        return y if shift is None else y + shift


class Sized(torch.nn.Module):
    def __init__(self, size):
        super().__init__()


def make():
    return Scale(3.0)


def nothing():
    return 5


def broken():
    return [1][2]


def dot(a, b):
    return (a * b).sum()


def examples():
    return {"x": torch.ones(2, 3), "shift": torch.ones(3)}


class Pair(aot.CompiledModule):
    total = aot.export_global(torch.zeros(2), mutable=True)

    @aot.jittable
    def compute(x, k):
        return {"sum": x + k, "parts": [x, x * 2]}

    def split(self, x=aot.AbstractTensor(2), k=aot.AbstractTensor(2, dtype=torch.bfloat16)):
        return self.compute(x, k)

    def read(self):
        return self.total

    def store(self, value=aot.AbstractTensor(2)):
        self.total = value


class Frames(torch.nn.Module):
    """TorchDynamo does not trace what looks at frames."""

    def forward(self, x):
        return x + 0 * len(inspect.stack())


class Decides(torch.nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class Slow(torch.nn.Module):
    """Takes long to compile: every layer is another program."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList(
            torch.nn.Linear(64 + i, 65 + i, bias=False) for i in range(60)
        )

    def forward(self, x):
        for layer in self.layers:
            x = torch.softmax(layer(x), -1)
        return x


model = Scale()
number = 5
'''


@pytest.fixture(scope="session")
def programs(tmp_path_factory):
    """A folder with `cli_programs.py` in it."""
    folder = tmp_path_factory.mktemp("programs")
    (folder / "cli_programs.py").write_text(PROGRAMS)
    return folder


@pytest.fixture
def here(programs, monkeypatch):
    """Be in the folder of the programs; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(programs)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield programs
    for name in [name for name in sys.modules if name.startswith("cli_programs")]:
        del sys.modules[name]


@pytest.fixture
def call(here, capfd):
    """Run the command in this process; gives exit code, stdout and stderr."""

    def run(*words):
        code = cli.main(list(map(str, words)))
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def call_json(call):
    """Run the command in this process with `--json`; gives exit code and the object on stdout."""

    def run(*words):
        code, out, _ = call(*words, "--json")
        return code, json.loads(out)

    return run


@pytest.fixture
def start(programs):
    """Start the command as a user does; what still runs at the end of the test is killed."""
    with contextlib.ExitStack() as stack:

        def spawn(*words, env=None, **settings):
            process = subprocess.Popen(
                [Path(sys.executable).with_name("shark-turbine"), *map(str, words)],
                cwd=programs,
                env={**os.environ, **(env or {})},
                text=True,
                **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **settings},
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield spawn
