# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Print a Markdown table of what becomes of each architecture: `python -m tests.dynamo.models.table [NAME...]`.

The numbers of graphs and operators are those of one step of training, forward and backward; the
differences those that the tests bound.
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter

import torch
import transformers

from shark_turbine.dynamo import Report, explain

from .architectures import Architecture
from .checks import (
    Pairs,
    forward,
    largest_difference,
    largest_gradient_difference,
    training,
    training_inputs,
)
from .lists import ALL as ARCHITECTURES

_BACKEND = "turbine_cpu"
_HEAD = (
    "architecture",
    "graphs",
    "compiled operators",
    "eager operators",
    "what runs in eager, and why",
    "largest difference, forward",
    "largest difference of a gradient, relative",
)


def main(names: list[str]) -> None:
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    print(f"| {' | '.join(_HEAD)} |")
    print(f"|{'|'.join(['---', '--:', '--:', '--:', '---', '--:', '--:'])}|")
    for architecture in ARCHITECTURES:
        if not names or architecture.name in names:
            print(f"| {' | '.join(_row(architecture))} |", flush=True)


def _row(architecture: Architecture) -> list[str]:
    torch.manual_seed(0)
    torch._dynamo.reset()
    model = architecture.model().eval()
    wrapped = torch.compile(model, backend=_BACKEND)
    outputs: Pairs = {}
    for size in architecture.sizes:
        pairs = forward(wrapped, model, architecture.inputs(size))
        outputs |= {f"{size} {name}": pair for name, pair in pairs.items()}
    torch._dynamo.reset()
    gradients = training(architecture, _BACKEND)
    report = explain(architecture.model().train())(**training_inputs(architecture))
    return [
        architecture.name,
        str(len(report.graphs)),
        str(sum(graph.compiled_operators for graph in report.graphs)),
        str(len(report.eager)),
        _reasons(report),
        f"{largest_difference(outputs):.1e}",
        f"{largest_gradient_difference(gradients):.1e}",
    ]


def _reasons(report: Report) -> str:
    counted = Counter(
        f"`{operator.name.removeprefix('aten.').removesuffix('.default')}`: {operator.reason}"
        for operator in report.eager
    )
    lines = [text if times == 1 else f"{text} ({times})" for text, times in counted.items()]
    return "<br>".join(line.replace("|", "\\|") for line in lines) or "–"


if __name__ == "__main__":
    main(sys.argv[1:])
