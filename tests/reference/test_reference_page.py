# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""IREE's page on PyTorch, this project's specification, runs as printed.

The page is no part of the project: it is looked for beside the checkout, and without it these tests
are skipped. docs/tutorial.md covers the same ground in the project's own words.
"""

import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch

import shark_turbine.aot as aot
import shark_turbine.runtime as rt

PAGE = Path(__file__).parents[3] / "shared" / "reference" / "pytorch-iree.md"
pytestmark = pytest.mark.skipif(
    not PAGE.exists(), reason=f"the reference page is not beside this checkout ({PAGE})"
)

FENCE = re.compile(r"^(?P<indent> *)```python[^\n]*\n(?P<code>.*?)^(?P=indent)```", re.M | re.S)
TEXT = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
BLOCKS = [textwrap.dedent(block["code"]) for block in FENCE.finditer(TEXT)]
JIT = [block for block in BLOCKS if 'backend="turbine_cpu"' in block]
AOT = [block for block in BLOCKS if block not in JIT]

# What each block of the AOT half is recognised by, in the page's order.
NAMES = (
    "LinearModule",
    "BasicModule",
    "GetOnesModule",
    "IntSumModule",
    "DynamicSumModule",
    "SampleModule",
    "SimpleParamsModule",
)


def imports_before(name: str) -> str:
    """Return the imports that a reader of the AOT half has typed when they come to a block."""
    blocks = AOT[: NAMES.index(name)]
    lines = [line for block in blocks for line in block.splitlines()]
    return "".join(f"{line}\n" for line in lines if re.match(r"(import|from) ", line))


def block_of(name: str) -> str:
    return AOT[NAMES.index(name)]


def run(folder: Path, source: str) -> "subprocess.CompletedProcess[str]":
    script = folder / "page.py"
    script.write_text(source, encoding="utf-8")
    return subprocess.run(
        [sys.executable, script], cwd=folder, capture_output=True, text=True, timeout=300
    )


def test_every_block_of_the_page_is_known() -> None:
    assert len(JIT) == 1
    assert [name for name, block in zip(NAMES, AOT, strict=True) if f"class {name}" in block] == [
        *NAMES
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_block_runs_verbatim(name: str, tmp_path: Path) -> None:
    process = run(tmp_path, imports_before(name) + block_of(name))
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""


def test_the_whole_half_runs_in_one_process(tmp_path: Path) -> None:
    process = run(tmp_path, "\n".join(AOT))
    assert process.returncode == 0, process.stderr


def test_the_simple_example_exits_cleanly_every_time(tmp_path: Path) -> None:
    # With the compiler's own output object this ends in a segmentation fault, after printing.
    for _ in range(3):
        process = run(tmp_path, block_of("LinearModule"))
        assert process.returncode == 0, process.stderr
        numbers = re.fullmatch(r"\[(.*)\]\n", process.stdout)
        assert numbers is not None, process.stdout
        assert len([float(number) for number in numbers[1].split()]) == 3


def test_what_the_page_says_is_printed_is_printed(tmp_path: Path) -> None:
    block = block_of("BasicModule")
    said = "".join(f"{line[2:]}\n" for line in block.splitlines() if re.match(r"# [m}]", line))
    assert said == "module @basic {\n}\n"
    process = run(tmp_path, block)
    assert process.stdout.strip() == said.strip()


def test_the_jit_block_runs_verbatim(tmp_path: Path) -> None:
    check = "torch.testing.assert_close(turbine_output, linear_module(args))\n"
    ended = run(tmp_path, JIT[0] + check)
    assert (ended.returncode, ended.stderr) == (0, "")


# ------------------------------------------------ what the page declares, compiled, run and compared --


def declared(name: str) -> dict[str, Any]:
    """Run the block of a class in this process, after the page's imports; return its names."""
    namespace: dict[str, Any] = {"__name__": "page"}
    exec(imports_before(name), namespace)
    exec(block_of(name), namespace)
    return namespace


def loaded(compiled_module: Any) -> rt.LoadedModule:
    instance = compiled_module()
    output = aot.export(compiled_module)
    assert str(output.mlir_module) == str(aot.CompiledModule.get_mlir_module(instance))
    output.verify()
    return rt.load(output.compile())


def mlir_of(compiled_module: Any) -> str:
    return str(aot.CompiledModule.get_mlir_module(compiled_module()))


def test_get_ones() -> None:
    module = loaded(declared("GetOnesModule")["GetOnesModule"])
    assert module.name == "get_ones"
    torch.testing.assert_close(module.get_ones(), torch.ones(3))


def test_int_sum() -> None:
    cls = declared("IntSumModule")["IntSumModule"]
    assert "@sum_int32(%arg0: tensor<2xi32>, %arg1: tensor<2xi32>) -> tensor<2xi32>" in mlir_of(cls)
    module = loaded(cls)
    a, b = torch.tensor([1, -2], dtype=torch.int32), torch.tensor([2**31 - 1, 5], dtype=torch.int32)
    torch.testing.assert_close(module.sum_int32(a, b), a + b)


def test_dynamic_sum() -> None:
    cls = declared("DynamicSumModule")["DynamicSumModule"]
    signature = "@sum_dynamic(%arg0: tensor<?xf32>, %arg1: tensor<?xf32>) -> tensor<?xf32>"
    assert signature in mlir_of(cls)
    module = loaded(cls)
    for size in (0, 1, 2, 17, 1000):
        a, b = torch.randn(size), torch.randn(size)
        torch.testing.assert_close(module.sum_dynamic(a, b), a + b)
    with pytest.raises(ValueError, match=r"a\.shape\[0\]"):
        module.sum_dynamic(torch.ones(5), torch.ones(4))


def test_globals_keep_their_value() -> None:
    module = loaded(declared("SampleModule")["SampleModule"])
    assert module.get_value().item() == 0
    module.update_value(torch.tensor(7, dtype=torch.int32))
    result = module.get_value()
    assert (result.item(), result.dtype, result.shape) == (7, torch.int32, ())


def test_parameters_are_shared_by_every_function() -> None:
    namespace = declared("SimpleParamsModule")
    model, module = namespace["m"], loaded(namespace["SimpleParamsModule"])
    x = torch.randn(128, 20)
    torch.testing.assert_close(module.run(x), model(x).detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(module.get_weight(), model.classifier.weight.detach())
    torch.testing.assert_close(module.get_bias(), model.classifier.bias.detach())
    text = mlir_of(namespace["SimpleParamsModule"])
    assert text.count("util.global private") == 2
    assert "@_params.classifier.weight" in text
