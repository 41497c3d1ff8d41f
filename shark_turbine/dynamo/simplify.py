# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What AOTAutograd writes in terms of memory although it means elements."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from .layout import hints, is_row_major

aten = torch.ops.aten


def simplify(graph: fx.Graph) -> None:
    """Replace `as_strided` that only gives row-major memory another shape by a view, in place.

    Composite operators of PyTorch squeeze dims that way.
    """
    for node in graph.find_nodes(op="call_function", target=aten.as_strided.default):
        source, size, _, *offset = node.args
        if (
            isinstance(source, fx.Node)
            and offset in ([], [None], [0])
            and _is_reshaped(source.meta["val"], node.meta["val"])
        ):
            node.target = aten.view.default
            node.args = (source, size)


def _is_reshaped(source: Any, result: Any) -> bool:
    return (
        source.numel() == result.numel()
        and all(isinstance(size, int) for size in (*source.shape, *result.shape))
        and is_row_major(*hints(source))
        and is_row_major(*hints(result))
    )
