# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""From a program that computes a loss to a graph that computes its gradients as well."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch._dispatch.python import enable_python_dispatcher
from torch._functorch.aot_autograd import _aot_export_function
from torch._guards import detect_fake_mode
from torch.export.graph_signature import InputKind
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..trace.quiet import quiet_torch


@dataclass(frozen=True, slots=True)
class Joint:
    """A functional graph with the arguments of the program that it was made from.

    `written` are the numbers of the arguments that it writes, `trained` of those with a gradient.
    """

    graph_module: fx.GraphModule
    tangents: int
    written: tuple[int, ...]
    trained: tuple[int, ...]

    def run(
        self, arguments: Sequence[Any]
    ) -> tuple[torch.Tensor, dict[int, torch.Tensor], dict[int, torch.Tensor]]:
        """Return the loss, gradients by the number of the argument, and new values alike."""
        results, gradients = self.graph_module(tuple(arguments), [None] * self.tangents)
        *new, loss = results
        written = dict(zip(self.written, new, strict=True))
        return loss, {index: gradients[index] for index in self.trained}, written


def trace_joint(program: torch.export.ExportedProgram) -> Joint | None:
    """Add the backward pass to a program whose only result is a loss; None: it has no gradient.

    Parameters with `requires_grad` get a gradient where the loss depends on them. As in eager PyTorch
    the others get none.
    """
    nodes = [node for node in program.graph.nodes if node.op == "placeholder"]
    values: list[Any] = [node.meta["val"] for node in nodes]
    mode = detect_fake_mode([value for value in values if isinstance(value, torch.Tensor)])
    # Products and a softmax: their gradients compile, those of the fused kernels do not.
    with (
        quiet_torch(),
        mode or nullcontext(),
        sdpa_kernel(SDPBackend.MATH),
        torch.backends.mkldnn.flags(False),
    ):
        trained = _with_gradient(program, values)
        if not trained:
            return None
        # Beneath `aot_export_module`, which finds gradients by name: two parameters may share one.
        graph_module, metadata, _, _ = _aot_export_function(
            program.graph_module,
            tuple(values),
            decompositions={},
            no_tangents=True,
            trace_joint=True,
        )
    return Joint(
        graph_module,  # type: ignore[arg-type]
        metadata.num_outputs + metadata.num_mutated_inp_runtime_indices,
        tuple(metadata.mutated_inp_runtime_indices),
        tuple(trained),
    )


def _with_gradient(program: torch.export.ExportedProgram, values: Sequence[Any]) -> list[int]:
    """Return which arguments the loss depends on, and mark the others: torch refuses them."""
    trained = [
        index
        for index, spec in enumerate(program.graph_signature.input_specs)
        if spec.kind is InputKind.PARAMETER and values[index].requires_grad
    ]
    with torch.enable_grad(), enable_python_dispatcher():
        (loss,) = program.graph_module(*values)
        if not trained or not loss.requires_grad:
            return []
        gradients: list[Any] = list(
            torch.autograd.grad(loss, [values[i] for i in trained], allow_unused=True)
        )
    for index, gradient in zip(trained, gradients, strict=True):
        if gradient is None:
            values[index].requires_grad_(False)
    return [i for i, gradient in zip(trained, gradients, strict=True) if gradient is not None]
