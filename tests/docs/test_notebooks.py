# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The notebooks of docs/: text and `.ipynb` are one, no output is stored, every cell runs and compares with eager."""

import importlib.util
import json
import re
import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "docs/notebooks"
NAMES = ["aot_advanced", "aot_simple", "dynamic_shapes", "jit"]
COMPARISON = re.compile(r"assert_close|assert_allclose|assert torch\.equal")


def module_of(path: Path) -> Any:
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_these_are_the_notebooks() -> None:
    assert [path.stem for path in module_of(FOLDER / "pair.py").SOURCES] == NAMES
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_pair_is_in_step_and_holds_no_output(name: str) -> None:
    stored = (FOLDER / f"{name}.ipynb").read_text()
    written = module_of(FOLDER / "pair.py").notebook_of(FOLDER / f"{name}.md")
    assert written == stored, "make notebooks"
    cells = [cell for cell in json.loads(stored)["cells"] if cell["cell_type"] == "code"]
    assert len(cells) > 5
    assert [cell for cell in cells if cell["outputs"] or cell["execution_count"]] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_from_top_to_bottom(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHARK_TURBINE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("PYTHONWARNINGS", raising=False)
    shutil.copy(FOLDER / "module_drawing.py", tmp_path)
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    assert len(COMPARISON.findall("\n".join(cell.source for cell in notebook.cells))) > 2
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=120,
        resources={"metadata": {"path": str(tmp_path)}},
    )
    # An error in a cell is one here, with the cell and its traceback.
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    assert sum("image/png" in output.get("data", ()) for output in outputs) >= 2


def test_the_picture_shows_globals_functions_and_what_flows() -> None:
    from iree.compiler import ir

    drawing = module_of(FOLDER / "module_drawing.py")
    with ir.Context():
        module = ir.Module.parse("""
            util.global private mutable @w = dense<1.0> : tensor<3xf32>
            func.func @main(%x: tensor<?x3xf32>) -> tensor<?x3xf32> {
              %c0 = arith.constant 0 : index
              %size = tensor.dim %x, %c0 : tensor<?x3xf32>
              %fits = arith.cmpi eq, %size, %size : index
              cf.assert %fits, "main: x.shape[0] must be 1 to 4"
              %w = util.global.load @w : tensor<3xf32>
              %y = call @scale(%x, %w) : (tensor<?x3xf32>, tensor<3xf32>) -> tensor<?x3xf32>
              return %y : tensor<?x3xf32>
            }
            func.func private @scale(%x: tensor<?x3xf32>, %w: tensor<3xf32>) -> tensor<?x3xf32> {
              return %x : tensor<?x3xf32>
            }
        """)
        boxes = drawing.boxes_of(module)
    assert [box.label for box in boxes] == [
        "@main\n(?×3 f32)",
        "check: x.shape[0]\nmust be 1 to 4",
        "load\n@w",
        "call @scale\n?×3 f32",
        "return\n?×3 f32",
        "@scale\n(?×3 f32, 3 f32)",
        "return\n?×3 f32",
        "@w\n3 f32",
    ]
    main, check, load, call, end, scale, scale_end, w = boxes
    # The size of %x, which is left out, leads to the check.
    assert main.users == [check, call]
    assert (load.users, call.users, scale.users) == ([call], [end], [scale_end])
    # No two boxes at one place, and each below what it uses.
    places = drawing.places_of(boxes)
    assert len(set(places)) == len(boxes)
    assert all(box.row < user.row for box in boxes for user in box.users)
    assert (w.column, w.row) == (1, 0)
