# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A picture of an MLIR module: its functions, what flows between their operations, its globals.

from module_drawing import draw_module

draw_module(exported.mlir_module)

Each function has a column, the public ones above those that they call; globals are at the right. An
operation stands below what it uses, with arrows from there. Constants, type conversions and arithmetic
on sizes are left out.
"""

import re
from collections import Counter
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
WIDTH, HEIGHT = 1.95, 0.68  # inches that a box gets


@dataclass
class Box:
    """A function, an operation or a global; `users` are the boxes to which an arrow goes."""

    label: str
    kind: str
    column: int
    row: int
    users: list["Box"] = field(default_factory=list)


def draw_module(module: Any) -> plt.Figure:
    """Draw an MLIR module (`ExportOutput.mlir_module`) and return the figure."""
    boxes = boxes_of(module)
    places = places_of(boxes)
    width = max(x for x, _ in places) + 1
    height = max(y for _, y in places) + 1
    figure, axes = plt.subplots(figsize=(WIDTH * width, HEIGHT * height))
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    axes.axis("off")
    shapes = {}
    for box, (x, y) in zip(boxes, places, strict=True):
        style = {"boxstyle": "round,pad=0.4", "facecolor": COLORS[box.kind], "edgecolor": "#666666"}
        text = axes.text(x, y, box.label, ha="center", va="center", fontsize=8, bbox=style)
        shapes[id(box)] = (x, y), text.get_bbox_patch()
    for box in boxes:
        for user in box.users:
            draw_arrow(axes, *shapes[id(box)], *shapes[id(user)], places)
    return figure


def draw_arrow(
    axes: Any, start: Any, patch: Any, end: Any, to_patch: Any, places: list[tuple[float, int]]
) -> None:
    """Draw an arrow from the edge of a box to the edge of another, around a box between them."""
    bend = 0.0
    for x, y in places:
        if start[1] < y < end[1]:
            beside = start[0] + (end[0] - start[0]) * (y - start[1]) / (end[1] - start[1]) - x
            if abs(beside) < 0.4:
                bend = -0.5 if beside > 0 else 0.9
    style = {"arrowstyle": "-|>", "connectionstyle": f"arc3,rad={bend}", "color": "#222222"}
    ends = {"patchA": patch, "patchB": to_patch, "shrinkA": 1, "shrinkB": 1}
    axes.annotate("", end, start, arrowprops={**style, **ends})


def places_of(boxes: list[Box]) -> list[tuple[float, int]]:
    """Return x and y of each box: a column is as wide as its widest row; rows are centred."""
    rows = Counter((box.column, box.row) for box in boxes)
    widths: Counter[int] = Counter()
    for (column, _), count in rows.items():
        widths[column] = max(widths[column], count)
    placed: Counter[tuple[int, int]] = Counter()
    places = []
    for box in boxes:
        left = sum(width for column, width in widths.items() if column < box.column)
        free = widths[box.column] - rows[box.column, box.row]
        places.append((left + free / 2 + placed[box.column, box.row], box.row))
        placed[box.column, box.row] += 1
    return places


def boxes_of(module: Any) -> list[Box]:
    """Return what is to be drawn of a module: public functions, private ones below, globals."""
    operations = [operation.operation for operation in module.body.operations]
    boxes: list[Box] = []
    for private in (False, True):
        floor = 1 + max((box.row for box in boxes), default=-1)
        functions = [
            each
            for each in operations
            if each.name == "func.func" and ("sym_visibility" in each.attributes) == private
        ]
        for column, function in enumerate(functions):
            boxes += boxes_of_function(function, column, floor)
    right = 1 + max((box.column for box in boxes), default=-1)
    variables = [each for each in operations if each.name == "util.global"]
    for row, variable in enumerate(variables):
        label = f"@{symbol(variable)}\n{type_text(variable.attributes['type'].value)}"
        boxes.append(Box(label, "global", right, row))
    return boxes


def boxes_of_function(function: Any, column: int, floor: int) -> list[Box]:
    """Return a function and its operations, with the arrows between them."""
    blocks = function.regions[0].blocks
    arguments = [type_text(each.type) for each in blocks[0].arguments]
    head = Box(f"@{symbol(function)}\n({', '.join(arguments)})", "function", column, floor)
    boxes = [head]
    # The boxes from which a value comes; through what is left out, those of its operands.
    sources = {argument: [head] for block in blocks for argument in block.arguments}
    for operation in (each.operation for block in blocks for each in block.operations):
        operands = (box for each in operation.operands for box in sources.get(each, []))
        come_from = list({id(box): box for box in operands}.values())
        if not LEFT_OUT.match(operation.name):
            above = boxes if operation.name == "func.return" else (head, *come_from)
            box = Box(*label_of(operation), column, 1 + max(each.row for each in above))
            for source in come_from:
                source.users.append(box)
            boxes.append(box)
            come_from = [box]
        sources |= dict.fromkeys(operation.results, come_from)
    # What uses nothing, such as a load, stands right above what uses it.
    used = {id(user) for box in boxes for user in box.users}
    for box in boxes[1:]:
        if id(box) not in used and box.users:
            box.row = min(user.row for user in box.users) - 1
    return boxes


def label_of(operation: Any) -> tuple[str, str]:
    """Return what is written into the box of an operation, and of which kind it is."""
    attributes = operation.attributes
    if operation.name == "cf.assert":
        what, _, must = attributes["msg"].value.partition(": ")[2].partition(" must ")
        return f"check: {what}\nmust {must}", "check"
    if operation.name == "func.return":
        values = ", ".join(type_text(each.type) for each in operation.operands)
        return f"return\n{values}".strip(), "function"
    results = ", ".join(type_text(each.type) for each in operation.results)
    if operation.name == "func.call":
        return f"call @{attributes['callee'].value}\n{results}".strip(), "computation"
    if operation.name in ("util.global.load", "util.global.store"):
        return f"{operation.name[12:]}\n@{attributes['global'].value}", "global"
    return f"{operation.name}\n{results}".strip(), "computation"


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
