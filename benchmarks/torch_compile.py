# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`torch.compile(backend="turbine_cpu")` beside inductor and eager, in one run.

    python benchmarks/torch_compile.py [case ...] [--rounds N] [--json FILE]

For each case one child process compiles with every backend and calls them in turn, round by round, so
that a noisy machine is noisy for all; the table gives medians, and ratios to inductor's. Compile times
are those of the first call (for training: of the first step) in processes of their own with empty
caches, and once more with the caches that these left. Results and gradients are compared with eager's.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
import transformers

THREADS = 2
BACKENDS = ("turbine_cpu", "inductor")


def _backend(name: str) -> Any:
    """Return a backend: ours by itself, because iree-turbine registers another under the same name."""
    if name != "turbine_cpu":
        return name
    from shark_turbine.dynamo import turbine_cpu  # noqa: PLC0415 (a peer does not pay for it)

    return turbine_cpu


def _add() -> tuple[Callable[..., Any], tuple[Any, ...]]:
    def add(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a + b

    return add, (torch.randn(4), torch.randn(4))


def _mlp() -> tuple[Callable[..., Any], tuple[Any, ...]]:
    layers = torch.nn
    model = layers.Sequential(
        layers.Linear(1024, 4096),
        layers.ReLU(),
        layers.Linear(4096, 4096),
        layers.ReLU(),
        layers.Linear(4096, 1024),
    )
    return model.eval(), (torch.randn(32, 1024),)


def _bert() -> tuple[Callable[..., Any], tuple[Any, ...]]:
    model = transformers.BertModel(transformers.BertConfig()).eval()
    return model, (torch.randint(0, 30000, (1, 128)), torch.ones(1, 128, dtype=torch.int64))


def _resnet() -> tuple[Callable[..., Any], tuple[Any, ...]]:
    return transformers.ResNetForImageClassification(transformers.ResNetConfig()).eval(), (
        torch.randn(1, 3, 224, 224),
    )


def _gpt() -> tuple[Callable[..., Any], tuple[Any, ...]]:
    config = transformers.GPT2Config(
        n_layer=4,
        n_embd=256,
        n_head=4,
        n_positions=128,
        vocab_size=8000,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        use_cache=False,
        bos_token_id=0,
        eos_token_id=0,
    )
    return transformers.GPT2LMHeadModel(config).train(), (torch.randint(0, 8000, (8, 128)),)


# Name: how to make it, calls in a round, and the goal for our median over inductor's.
CASES: dict[str, tuple[Callable[[], Any], int, float]] = {
    "add of 4 floats": (_add, 2000, 1.0),
    "MLP, batch 32": (_mlp, 5, 0.7),
    "BERT-base, 128 tokens": (_bert, 2, 1.0),
    "ResNet-50, 224²": (_resnet, 3, 1.0),
    "GPT training step": (_gpt, 1, 1.2),
}


def _caller(case: str, function: Any, model: Any, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    """Return what one call is: a forward pass, or a forward and backward pass."""
    if not case.startswith("GPT"):

        def forward() -> Any:
            with torch.no_grad():
                return function(*arguments)

        return forward

    def step() -> Any:
        model.zero_grad()
        loss = function(input_ids=arguments[0], labels=arguments[0]).loss
        loss.backward()
        return loss

    return step


def _numbers(result: Any) -> torch.Tensor:
    """Return the tensor of a result that is compared."""
    return result if isinstance(result, torch.Tensor) else result[0]


def run_steady(case: str, rounds: int) -> dict[str, Any]:
    """Call every backend in turn; return medians in milliseconds and differences from eager."""
    make, calls, _ = CASES[case]
    torch.manual_seed(0)
    model, arguments = make()
    ways = {
        "eager": model,
        "inductor": torch.compile(model, backend="inductor"),
        "turbine_cpu": torch.compile(model, backend=_backend("turbine_cpu")),
    }
    if not case.startswith(("add", "GPT")):
        ways["turbine_cpu, frozen"] = torch.compile(
            model, backend=_backend("turbine_cpu"), options={"freeze": True}
        )
    callers: dict[str, Callable[[], Any]] = {}
    differences: dict[str, float] = {}
    expected = _numbers(_caller(case, model, model, arguments)())
    for name, function in ways.items():
        callers[name] = _caller(case, function, model, arguments)
        result = _numbers(callers[name]())
        differences[name] = (result - expected).abs().max().item()
    times: dict[str, list[float]] = {name: [] for name in callers}
    for _ in range(rounds):
        for name, call in callers.items():
            call()
            start = time.perf_counter()
            for _ in range(calls):
                call()
            times[name].append((time.perf_counter() - start) / calls * 1e3)
    return {
        "medians": {name: statistics.median(each) for name, each in times.items()},
        "minima": {name: min(each) for name, each in times.items()},
        "differences": differences,
    }


def run_first(case: str, backend: str) -> dict[str, Any]:
    """Return the seconds of the first call with one backend."""
    torch.manual_seed(0)
    model, arguments = CASES[case][0]()
    call = _caller(case, torch.compile(model, backend=_backend(backend)), model, arguments)
    start = time.perf_counter()
    call()
    return {"seconds": time.perf_counter() - start}


def _child(folder: str, *arguments: str) -> dict[str, Any]:
    environment = {
        **os.environ,
        "TORCHINDUCTOR_CACHE_DIR": os.path.join(folder, "inductor"),
        "SHARK_TURBINE_CACHE_DIR": os.path.join(folder, "turbine"),
        "OMP_NUM_THREADS": str(THREADS),
    }
    command = [sys.executable, __file__, "--child", *arguments]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=True)
    return json.loads(result.stdout.splitlines()[-1])


def run_case(case: str, rounds: int) -> dict[str, Any]:
    """Measure one case in child processes."""
    found: dict[str, Any] = {"case": case, "goal": CASES[case][2], "first": {}}
    for backend in BACKENDS:
        with tempfile.TemporaryDirectory() as folder:
            cold = _child(folder, case, "first", backend)["seconds"]
            warm = _child(folder, case, "first", backend)["seconds"]
        found["first"][backend] = {"cold": cold, "warm": warm}
    with tempfile.TemporaryDirectory() as folder:
        found.update(_child(folder, case, "steady", str(rounds)))
    return found


def show(found: dict[str, Any]) -> None:
    """Print one case."""
    medians, first = found["medians"], found["first"]
    unit, factor = ("µs", 1e3) if medians["eager"] < 0.1 else ("ms", 1.0)
    print(f"\n{found['case']} (goal: {found['goal']:.2f} × inductor)")
    for name, median in medians.items():
        ratio = median / medians["inductor"]
        low = found["minima"][name] * factor
        print(
            f"  {name:<20} {median * factor:9.2f} {unit}  min {low:9.2f}  {ratio:5.2f} × inductor"
            f"   off by {found['differences'][name]:.1e}"
        )
    ours, theirs = first["turbine_cpu"], first["inductor"]
    print(
        f"  first call           cold {ours['cold']:.2f} s, inductor {theirs['cold']:.2f} s: "
        f"{ours['cold'] / theirs['cold']:.2f} (goal 0.60)\n"
        f"                       warm {ours['warm']:.2f} s, inductor {theirs['warm']:.2f} s: "
        f"{ours['warm'] / ours['cold']:.2f} of our cold one (goal 0.10), "
        f"{ours['warm'] / theirs['cold']:.2f} of inductor's"
    )


def main() -> None:
    """Measure the cases that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("cases", nargs="*", help=f"any of: {', '.join(CASES)} (or how they begin)")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", help="write what was measured to this file")
    parser.add_argument("--child", nargs=3, metavar=("CASE", "KIND", "ARGUMENT"))
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    if options.child:
        warnings.simplefilter("ignore")
        case, kind, argument = options.child
        result = run_steady(case, int(argument)) if kind == "steady" else run_first(case, argument)
        print(json.dumps(result), flush=True)
        return
    chosen = [
        case for case in CASES if not options.cases or case.lower().startswith(tuple(options.cases))
    ]
    results = []
    for case in chosen:
        results.append(run_case(case, options.rounds))
        show(results[-1])
    if options.json:
        with open(options.json, "w") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
