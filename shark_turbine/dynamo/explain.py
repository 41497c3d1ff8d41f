# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`explain`: run a program once and say what became of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch

from shark_turbine import trees

from .backend import compile_graph
from .options import Options
from .report import Report


def explain(
    function: Callable[..., Any],
    *,
    dynamic: bool | None = None,
    options: Mapping[str, Any] | None = None,
) -> Callable[..., Report]:
    """Return a function that runs `function` compiled, and gives a report in place of the results.

    The report says how many graphs PyTorch captured, what of each was compiled, what runs in eager
    and why, and how long the compiler and the cache took. Where results require gradients, the
    backward graphs are compiled and run as well; no `.grad` is changed by that. Like
    `torch._dynamo.explain`, it forgets what `torch.compile` compiled before.

    Args:
        function: an `nn.Module` or a function that is not compiled yet.
        dynamic: as for `torch.compile`.
        options: those of the backend.

    Raises:
        DeclarationError: an option is unknown or has no such value.
    """
    parsed = Options.parse(options)

    def run(*args: Any, **kwargs: Any) -> Report:
        report = Report()
        backend = partial(compile_graph, options=parsed, report=report)
        torch._dynamo.reset()
        try:
            results = torch.compile(function, backend=backend, dynamic=dynamic)(*args, **kwargs)
            _run_backward(results)
        finally:
            torch._dynamo.reset()
        return report

    return run


def _run_backward(results: Any) -> None:
    """Compute gradients of everything that the results depend on, and drop them."""
    outputs = [
        leaf
        for leaf in trees.leaves(results)
        if isinstance(leaf, torch.Tensor) and leaf.requires_grad
    ]
    inputs = _differentiated(outputs)
    if inputs:
        ones = [torch.ones_like(output) for output in outputs]
        torch.autograd.grad(outputs, inputs, ones, allow_unused=True)


def _differentiated(outputs: list[torch.Tensor]) -> list[torch.Tensor]:
    """Return the tensors that gradients would be accumulated in."""
    seen: set[Any] = set()
    found: list[torch.Tensor] = []
    left = [output.grad_fn for output in outputs]
    while left:
        node = left.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)
        if isinstance(variable, torch.Tensor):
            found.append(variable)
        left.extend(following for following, _ in node.next_functions)
    return found
