# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A picture of an MLIR module: its globals, its functions, and what flows between operations.

from module_drawing import draw_module

draw_module(exported.mlir_module)

A column is a function, with its operations in the order of the text. An arrow goes from an operation
to one that uses its result; a dashed arrow from a call to the function that is called, and between a
global and who reads or writes it. Constants, type conversions and arithmetic on sizes are left out.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import matplotlib.pyplot as plt

LEFT_OUT = re.compile(
    r"arith\.|torch_c\.|torch\.constant\.|torch\.prim\.|tensor\.dim|util\.optimization_barrier"
)
COLORS = {
    "global": "#ffe0b3",
    "function": "#d5d8dc",
    "computation": "#cfe2f3",
    "check": "#f4cccc",
}
WIDTH, HEIGHT = 3.1, 0.62  # inches of a column and of a row
BOX = 0.24  # half the height of a box, in rows


@dataclass
class Drawing:
    """Boxes (column, row, label, kind) and arrows (from box, to box, dashed), by number."""

    boxes: list[tuple[int, int, str, str]] = field(default_factory=list)
    arrows: list[tuple[int, int, bool]] = field(default_factory=list)

    def add(self, column: int, row: int, label: str, kind: str) -> int:
        """Add a box; return its number."""
        self.boxes.append((column, row, label, kind))
        return len(self.boxes) - 1


def draw_module(module: Any) -> plt.Figure:
    """Draw an MLIR module (`ExportOutput.mlir_module`) and return the figure."""
    drawing = drawing_of(module)
    columns = 1 + max(column for column, *_ in drawing.boxes)
    rows = 1 + max(row for _, row, *_ in drawing.boxes)
    figure, axes = plt.subplots(figsize=(WIDTH * columns, HEIGHT * rows))
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.axis("off")
    for start, end, dashed in drawing.arrows:
        draw_arrow(axes, drawing.boxes[start], drawing.boxes[end], dashed)
    for column, row, label, kind in drawing.boxes:
        box = {"boxstyle": "round,pad=0.35", "facecolor": COLORS[kind], "edgecolor": "#555555"}
        axes.text(column, row, label, ha="center", va="center", fontsize=8, bbox=box)
    figure.tight_layout()
    return figure


def drawing_of(module: Any) -> Drawing:
    """Return what is to be drawn of a module."""
    drawing = Drawing()
    operations = [operation.operation for operation in module.body.operations]
    variables = [each for each in operations if each.name == "util.global"]
    functions = [each for each in operations if each.name == "func.func"]
    # Public functions first; private ones, which they call, to the right of them.
    functions.sort(key=lambda each: "sym_visibility" in each.attributes)
    named: dict[str, int] = {}
    for row, variable in enumerate(variables):
        size = type_text(variable.attributes["type"].value)
        label = f"@{symbol(variable)}\n{size}"
        named[symbol(variable)] = drawing.add(0, row, label, "global")
    first = 1 if variables else 0
    for column, function in enumerate(functions, first):
        arguments = [type_text(each.type) for each in function.regions[0].blocks[0].arguments]
        label = f"@{symbol(function)}({', '.join(arguments)})"
        named[symbol(function)] = drawing.add(column, 0, label, "function")
    for column, function in enumerate(functions, first):
        add_operations(drawing, column, function, named)
    return drawing


def add_operations(drawing: Drawing, column: int, function: Any, named: dict[str, int]) -> None:
    """Add the operations of a function below its name, and the arrows between them."""
    # The boxes from which a value comes; through what is left out, those of its operands.
    sources: dict[Any, set[int]] = {}
    row = 0
    for block in function.regions[0].blocks:
        sources |= {argument: {named[symbol(function)]} for argument in block.arguments}
        for operation in (each.operation for each in block.operations):
            come_from = set().union(*(sources.get(each, set()) for each in operation.operands))
            if not LEFT_OUT.match(operation.name):
                row += 1
                box = drawing.add(column, row, *label_of(operation))
                drawing.arrows += [(start, box, False) for start in sorted(come_from)]
                drawing.arrows += symbol_arrows(operation, box, named)
                come_from = {box}
            sources |= dict.fromkeys(operation.results, come_from)


def symbol_arrows(
    operation: Any, box: int, named: dict[str, int]
) -> Iterator[tuple[int, int, bool]]:
    """Yield the dashed arrow of a call, a load or a store."""
    if operation.name == "func.call":
        yield box, named[operation.attributes["callee"].value], True
    elif operation.name == "util.global.load":
        yield named[operation.attributes["global"].value], box, True
    elif operation.name == "util.global.store":
        yield box, named[operation.attributes["global"].value], True


def label_of(operation: Any) -> tuple[str, str]:
    """Return what is written into the box of an operation, and of which kind it is."""
    if operation.name == "cf.assert":
        return operation.attributes["msg"].value.partition(": ")[2], "check"
    kind = "global" if operation.name.startswith("util.global") else "computation"
    if operation.name == "func.return":
        return "return " + ", ".join(
            type_text(each.type) for each in operation.operands
        ), "function"
    sizes = ", ".join(type_text(result.type) for result in operation.results)
    return f"{operation.name}\n{sizes}" if sizes else operation.name, kind


def symbol(operation: Any) -> str:
    """Return the name of a function or global."""
    return operation.attributes["sym_name"].value


def type_text(value_type: Any) -> str:
    """Return `?×3 f32` for `tensor<?x3xf32>` and for `!torch.vtensor<[?,3],f32>`."""
    text = str(value_type)
    found = re.fullmatch(r"!torch\.vtensor<\[(.*)\],(\w+)>", text)
    if found:
        return f"{found[1].replace(',', '×')} {found[2]}".strip()
    found = re.fullmatch(r"tensor<(?:(.*)x)?(\w+)>", text)
    return f"{(found[1] or '').replace('x', '×')} {found[2]}".strip() if found else text


def draw_arrow(axes: Any, start: tuple[Any, ...], end: tuple[Any, ...], dashed: bool) -> None:
    """Draw an arrow between two boxes: straight to the next row, around the boxes between."""
    (from_column, from_row, *_), (to_column, to_row, *_) = start, end
    same_column = from_column == to_column
    below = BOX if same_column else 0
    far = same_column and to_row - from_row > 1
    style = {
        "arrowstyle": "-|>",
        "color": "#999999" if dashed else "#333333",
        "linestyle": "--" if dashed else "-",
        "connectionstyle": f"arc3,rad={-0.35 if far else 0}",
        "shrinkA": 0 if same_column else 62,
        "shrinkB": 0 if same_column else 62,
    }
    axes.annotate(
        "", xy=(to_column, to_row - below), xytext=(from_column, from_row + below), arrowprops=style
    )
