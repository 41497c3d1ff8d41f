# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The backend: what `torch.compile` calls with each graph that TorchDynamo captured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from functorch.compile import min_cut_rematerialization_partition
from torch import fx
from torch._dynamo.backends.common import aot_autograd
from torch._ops import OpOverload
from torch.nn.attention import SDPBackend, sdpa_kernel

from shark_turbine.decompositions import dispatched_decompositions

from .graph_compiler import GraphCompiler
from .knowledge import Knowledge
from .options import Options
from .report import Report

_knowledge = Knowledge()


def turbine_cpu(
    graph_module: fx.GraphModule,
    example_inputs: Sequence[Any],
    *,
    options: Mapping[str, Any] | None = None,
    mode: str | None = None,
) -> Callable[..., Any]:
    """Compile a graph of TorchDynamo's for this machine's CPU.

    Args:
        graph_module: the captured graph.
        example_inputs: its arguments.
        options: see `Options`.
        mode: taken and not used: `torch.compile`'s modes are inductor's.

    Raises:
        DeclarationError: an option is unknown or has no such value.
    """
    return compile_graph(graph_module, example_inputs, Options.parse(options), None)


def compile_graph(
    graph_module: fx.GraphModule,
    example_inputs: Sequence[Any],
    options: Options,
    report: Report | None,
) -> Callable[..., Any]:
    """Compile a graph; `report` collects what becomes of it."""
    graphs = GraphCompiler(options, _knowledge, report)
    if report is not None:
        report.add_break(getattr(graph_module, "compile_subgraph_reason", None))

    def compiler_of(kind: str) -> Any:
        def compile(module: fx.GraphModule, _: Sequence[Any]) -> Any:
            return _boxed(graphs.compile(module, kind))

        return compile

    backend = aot_autograd(
        fw_compiler=compiler_of("forward"),
        bw_compiler=compiler_of("backward"),
        inference_compiler=compiler_of("inference"),
        decompositions=_decompositions(),
        partition_fn=min_cut_rematerialization_partition,
    )
    # Products and a softmax: their gradients compile, those of the fused kernels do not.
    with sdpa_kernel(SDPBackend.MATH):
        return backend(graph_module, example_inputs)


@cache
def _decompositions() -> dict[Any, Callable[..., Any]]:
    """Return the table of the AOT road less what eager does better than its parts."""
    return {
        operator: function
        for operator, function in dispatched_decompositions().items()
        if not (isinstance(operator, OpOverload) and _stays_whole(operator))
    }


def _stays_whole(operator: OpOverload) -> bool:
    """Tell whether an operator is random, complex inside, or brings in a constant of the program."""
    return torch.Tag.nondeterministic_seeded in operator.tags or operator.name().startswith(
        ("aten::_fft_", "aten::lift")
    )


def _boxed(function: Callable[[list[Any]], Any]) -> Callable[[list[Any]], Any]:
    function._boxed_call = True  # type: ignore[attr-defined]  AOTAutograd's way to hand values over
    return function
