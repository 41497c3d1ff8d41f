# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What exporting and compiling cost, for a random BERT with its weights inside the artifact.

Prints the time of `aot.export` against `torch.export.export` alone, and the peak resident memory of
export + compile, this process and its children together, as a multiple of the weights::

    python benchmarks/export_cost.py [--layers 12] [--hidden 768] [--length 128] [--repeat 2]
"""

from __future__ import annotations

import argparse
import gc
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import transformers
from sampling import Sampler, resident

from shark_turbine import aot


def make_bert(layers: int, hidden: int, vocabulary: int) -> Any:
    """Return a random BERT in eval mode; its parameters share no memory with anything."""
    config = transformers.BertConfig(
        num_hidden_layers=layers,
        hidden_size=hidden,
        intermediate_size=4 * hidden,
        num_attention_heads=max(hidden // 64, 1),
        vocab_size=vocabulary,
    )
    torch.manual_seed(0)
    return transformers.BertModel(config).eval()


def example(length: int) -> dict[str, Any]:
    """Return ids and a mask with padding."""
    ids = torch.randint(0, 1000, (1, length))
    mask = torch.ones_like(ids)
    mask[:, length // 2 :] = 0
    return {"input_ids": ids, "attention_mask": mask}


@contextmanager
def phase(spans: dict[str, tuple[float, float]], name: str) -> Iterator[None]:
    """Note from when to when something ran."""
    gc.collect()
    start = time.monotonic()
    yield
    spans[name] = (start, time.monotonic())


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run everything once and return the numbers."""
    tiny = make_bert(1, 64, 100)
    small = {key: value[:, :16] % 90 for key, value in example(16).items()}
    torch.export.export(tiny, (), small, strict=options.strict)
    aot.export(tiny, kwargs=small, strict_export=options.strict).compile()
    del tiny
    gc.collect()

    base = resident()
    sampler = Sampler()
    spans: dict[str, tuple[float, float]] = {}
    with phase(spans, "model"):
        model = make_bert(options.layers, options.hidden, options.vocabulary)
        inputs = example(options.length)
    weights = sum(parameter.nbytes for parameter in model.parameters())
    with phase(spans, "aot.export"):
        output = aot.export(model, kwargs=inputs, strict_export=options.strict)
    with phase(spans, "compile"):
        vmfb = output.compile()
    size = vmfb.size
    del output, vmfb
    with phase(spans, "torch.export.export"):
        torch.export.export(model, (), inputs, strict=options.strict)
    for number in range(1, options.repeat):
        with phase(spans, f"aot.export {number + 1}"):
            aot.export(model, kwargs=inputs, strict_export=options.strict)
        with phase(spans, f"torch.export.export {number + 1}"):
            torch.export.export(model, (), inputs, strict=options.strict)
    return {
        "base": base,
        "weights": weights,
        "vmfb": size,
        "spans": spans,
        "rows": sampler.rows(),
    }


def report(found: dict[str, Any]) -> None:
    """Print the table."""
    mib, weights, base = 2**20, found["weights"], found["base"]
    print(f"weights {weights / mib:.0f} MiB, vmfb {found['vmfb'] / mib:.0f} MiB")
    print(f"base process (everything imported, no model) {base / mib:.0f} MiB")
    print(f"{'phase':24}{'seconds':>9}{'parent':>9}{'children':>10}{'together':>10}")
    together = 0.0
    for name, (start, end) in found["spans"].items():
        rows = [row for row in found["rows"] if start <= row[0] <= end] or [[0, base, 0]]
        parent = max(row[1] for row in rows)
        children = max(row[2] for row in rows)
        both = max(row[1] + row[2] for row in rows)
        shown = [(parent - base), children, (both - base)]
        cells = "".join(
            f"{value / weights:>{width - 1}.2f}x"
            for value, width in zip(shown, (9, 10, 10), strict=True)
        )
        print(f"{name:24}{end - start:>9.2f}{cells}")
        if name in ("aot.export", "compile"):
            together = max(together, both - base)
    print(f"peak of export + compile above the base process: {together / weights:.2f} x weights")
    ours, theirs = (
        min(end - start for name, (start, end) in found["spans"].items() if name.startswith(kind))
        for kind in ("aot.export", "torch.export.export")
    )
    print(
        f"aot.export {ours:.2f} s, torch.export.export alone {theirs:.2f} s: {ours / theirs:.2f} x"
    )


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--hidden", type=int, default=768)
    parser.add_argument("--vocabulary", type=int, default=30522)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--not-strict", dest="strict", action="store_false")
    warnings.simplefilter("ignore")
    report(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
