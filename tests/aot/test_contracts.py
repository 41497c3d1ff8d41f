# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ruff: noqa: B008  defaults of procedures are their signatures
"""Contracts of public functions hold in the artifact, whichever client calls it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import shark_turbine.aot as aot
from shark_turbine.errors import TurbineError

A = aot.AbstractTensor


class ContractsModule(aot.CompiledModule):
    @aot.jittable
    def add(a: Any, b: Any) -> Any:
        return a + b

    @aot.jittable
    def double(a: Any) -> Any:
        return a * 2

    @aot.jittable
    def longer(a: Any) -> Any:
        return torch.cat([a, torch.ones(1)])

    def equal(self, a=A(None), b=A(None)):
        return self.add(a, b, constraints=[a.dynamic_dim(0) == b.dynamic_dim(0)])

    def ranged(self, a=A(None)):
        return self.double(a, constraints=[a.dynamic_dim(0) > 2, a.dynamic_dim(0) <= 6])

    def fixed(self, a=A(None)):
        return self.double(a, constraints=[a.dynamic_dim(0) == 4])

    def named(self, a=A("n", "m"), b=A("n", "m")):
        return self.add(a, b)

    def inside(self, a=A(None), b=A(None)):
        c = self.longer(a)
        return self.add(c, b, constraints=[c.dynamic_dim(0) == b.dynamic_dim(0)])

    def inside_range(self, a=A(None)):
        c = self.longer(a)
        return self.double(c, constraints=[c.dynamic_dim(0) < 3])

    def divide(self, n=aot.AbstractI64, d=aot.AbstractI64):
        return n // d

    def free(self, a=A(None, None)):
        return self.double(a)


@pytest.fixture(scope="module")
def contracts(build: Any) -> Any:
    return build(ContractsModule)


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


BROKEN = {
    "equality": ("equal", [ones(5), ones(4)], "equal: a.shape[0] must equal b.shape[0]"),
    "below": ("ranged", [ones(2)], "ranged: a.shape[0] must be 3 to 6"),
    "above": ("ranged", [ones(7)], "ranged: a.shape[0] must be 3 to 6"),
    "fixed": ("fixed", [ones(5)], "fixed: a.shape[0] must be 4"),
    "name": (
        "named",
        [ones(2, 3), ones(2, 4)],
        "named: a.shape[1] must equal b.shape[1] (both are 'm')",
    ),
    "inside": ("inside", [ones(5), ones(5)], "inside: longer(...).shape[0] must equal b.shape[0]"),
    "inside range": ("inside_range", [ones(2)], "inside_range: longer(...).shape[0] must be <= 2"),
    "division": ("divide", [7, 0], "divide: division by zero in n // d"),
}
HELD = [
    ("equal", [ones(5), ones(5)]),
    ("equal", [ones(0), ones(0)]),
    ("equal", [ones(1), ones(1)]),
    ("ranged", [ones(3)]),
    ("ranged", [ones(6)]),
    ("fixed", [ones(4)]),
    ("named", [ones(2, 3), ones(2, 3)]),
    ("inside", [ones(5), ones(6)]),
    ("inside_range", [ones(1)]),
    ("divide", [7, 2]),
    ("free", [ones(0, 3)]),
    ("free", [ones(1, 1)]),
]


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_contract_is_refused_by_stock_iree(contracts: Any, name: str) -> None:
    function, arguments, message = BROKEN[name]
    with pytest.raises(RuntimeError) as caught:
        getattr(contracts.stock, function)(*arguments)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_contract_is_refused_by_our_loader(contracts: Any, name: str) -> None:
    function, arguments, message = BROKEN[name]
    arguments = [torch.as_tensor(x) if isinstance(x, np.ndarray) else x for x in arguments]
    with pytest.raises(TurbineError) as caught:
        getattr(contracts.loaded, function)(*arguments)
    assert message.split(": ")[1].split(" must")[0] in str(caught.value)


def test_calls_that_keep_the_contract_run(contracts: Any) -> None:
    for function, arguments in HELD:
        getattr(contracts.stock, function)(*arguments)
        ours = [torch.as_tensor(x) if isinstance(x, np.ndarray) else x for x in arguments]
        getattr(contracts.loaded, function)(*ours)
    got = contracts.loaded.inside(torch.arange(3.0), torch.ones(4))
    torch.testing.assert_close(got, torch.tensor([1.0, 2.0, 3.0, 2.0]))


@pytest.mark.parametrize("name", ["equality", "below", "fixed"])
def test_a_broken_contract_is_refused_by_iree_run_module(
    contracts: Any, name: str, tmp_path: Path
) -> None:
    tool = shutil.which("iree-run-module", path=str(Path(sys.executable).parent))
    function, arguments, message = BROKEN[name]
    path = tmp_path / "contracts.vmfb"
    contracts.vmfb.save(path)
    inputs = [f"--input={x.shape[0]}xf32=1" for x in arguments if isinstance(x, np.ndarray)]
    command = [str(tool), f"--module={path}", "--device=local-sync", f"--function={function}"]
    run = subprocess.run([*command, *inputs], capture_output=True, text=True, timeout=60)
    assert run.returncode != 0
    assert message in run.stderr


def test_contracts_are_told_in_the_signature(contracts: Any) -> None:
    program = aot.CompiledModule.get_program(contracts.output.compiled_module)
    told = {p.symbol: p.signature.contracts for p in program.procedures}
    assert told["equal"] == ("equal: a.shape[0] must equal b.shape[0]",)
    assert told["ranged"] == ("ranged: a.shape[0] must be 3 to 6",)
    assert told["named"] == (
        "named: a.shape[0] must equal b.shape[0] (both are 'n')",
        "named: a.shape[1] must equal b.shape[1] (both are 'm')",
    )
    assert told["free"] == ()


def test_stripped_contracts_are_not_in_the_artifact() -> None:
    class FixedModule(aot.CompiledModule):
        def run(self, a=A("n"), b=A("n")):
            return a

    output = aot.export(FixedModule)
    kept, stripped = output.compile(), output.compile(strip_contracts=True)
    assert b"must equal" in bytes(kept.map_memory())
    text = b"run: a.shape[0] must equal b.shape[0]"
    assert bytes(kept.map_memory()).count(text) > bytes(stripped.map_memory()).count(text)
