# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Walk PyTorch's own operator samples: export, compile, run, compare, and say what fails by cause.

python tests/ops/walk.py                     # everything, about an hour on one core
python tests/ops/walk.py --op softmax --op nn.functional.gelu
python tests/ops/walk.py --json walk.jsonl   # one line per sample
"""

from __future__ import annotations

import argparse
import collections
import json
import multiprocessing
import re
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from torch.testing._internal.common_methods_invocations import op_db

from shark_turbine.errors import TurbineError
from tests.ops import harness

SAMPLES = {torch.float32: 3, torch.int64: 1, torch.bool: 1, torch.bfloat16: 1}

UNPREDICTABLE = {"exponential", "uniform", "cauchy", "geometric", "bernoulli"}
UNPREDICTABLE |= {"nn.functional.rrelu", "nn.functional.dropout", "nn.functional.alpha_dropout"}
# The samples of these seed the generator themselves, or show memory that nobody has written.
UNPREDICTABLE |= {"rand_like", "randint", "randint_like", "randn", "randn_like", "normal"}
UNPREDICTABLE |= {"nn.functional.dropout2d", "nn.functional.dropout3d"}
UNPREDICTABLE |= {"nn.functional.feature_alpha_dropout"}
UNPREDICTABLE |= {"nn.functional.multi_head_attention_forward"}
UNPREDICTABLE |= {"empty", "empty_like", "empty_permuted", "empty_strided"}
UNPREDICTABLE |= {"new_empty", "new_empty_strided"}


@dataclass
class Result:
    """What became of one sample."""

    op: str
    variant: str
    dtype: str
    index: int
    outcome: str
    detail: str = ""
    seconds: float = 0.0


@dataclass
class Sample:
    """One call of an operator: a function of the tensors in it."""

    op: str
    variant: str
    dtype: torch.dtype
    index: int
    function: Callable[..., Any]
    tensors: list[torch.Tensor]
    program: Any = None
    expected: list[torch.Tensor] = field(default_factory=list)

    def result(self, outcome: str, detail: str = "") -> Result:
        detail = " ".join(detail.split())[:600]
        return Result(self.op, self.variant, str(self.dtype), self.index, outcome, detail)


class TimeUp(Exception):
    """A step in this process took too long."""


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise TimeUp(f"no end after {seconds} s")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def samples(op: Any) -> Iterator[Sample]:
    for dtype, count in SAMPLES.items():
        if not op.supports_dtype(dtype, "cpu"):
            continue
        torch.manual_seed(0)
        try:
            inputs = op.sample_inputs("cpu", dtype, requires_grad=False)
            for index, (_, sample) in enumerate(zip(range(count), inputs, strict=False)):
                yield _sample(op, dtype, index, sample)
        except Exception as error:  # a sample generator that needs what is not here
            print(f"no samples of {op.name} {dtype}: {error}", file=sys.stderr)


def _sample(op: Any, dtype: torch.dtype, index: int, sample: Any) -> Sample:
    leaves, spec = torch.utils._pytree.tree_flatten((sample.input, sample.args, sample.kwargs))
    places = [place for place, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]

    def function(*tensors: torch.Tensor) -> Any:
        filled = list(leaves)
        for place, tensor in zip(places, tensors, strict=True):
            filled[place] = tensor
        first, rest, keywords = torch.utils._pytree.tree_unflatten(filled, spec)
        result = op.op(first, *rest, **keywords)
        return harness.flat_tensors(result)

    tensors = [leaves[place].detach().clone() for place in places]
    return Sample(op.name, op.variant_test_name, dtype, index, function, tensors)


def prepare(sample: Sample) -> Result | None:
    """Run eagerly and export; a result says why the sample stops here."""
    try:
        with torch.no_grad(), time_limit(60):
            sample.expected = [
                t.clone() for t in sample.function(*map(torch.clone, sample.tensors))
            ]
            again = sample.function(*map(torch.clone, sample.tensors))
    except Exception as error:
        return sample.result("no eager", f"{type(error).__name__}: {error}")
    if harness.mismatch(again, sample.expected) is not None:
        return sample.result("random", "two eager calls differ")
    if "normal" in sample.op or sample.op in UNPREDICTABLE:
        return sample.result("random", "random numbers, or memory as it was")
    if not sample.expected:
        return sample.result("no tensor", "the result holds no tensor")
    try:
        with time_limit(60):
            sample.program = harness.export(sample.function, [t.clone() for t in sample.tensors])
    except TurbineError as error:
        return sample.result("refused", str(error))
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        dependent = (
            "data-dependent" in text.lower() or "DataDependent" in text or "Unbacked" in text
        )
        return sample.result("data-dependent" if dependent else "no export", text)
    try:
        harness.import_all({"main": sample.program})
    except TurbineError as error:
        return sample.result("refused", str(error))
    except Exception as error:
        return sample.result("refused badly", f"{type(error).__name__}: {error}")
    return None


def walk_op(op: Any, runner: Runner) -> Iterator[Result]:
    ready = []
    for sample in samples(op):
        stopped = prepare(sample)
        if stopped is not None:
            yield stopped
        else:
            ready.append(sample)
    if not ready:
        return
    try:
        module = harness.import_all({f"f{i}": sample.program for i, sample in enumerate(ready)})
        vmfb = harness.compile_module(module, timeout=60 * len(ready))
    except (harness.CompileFailed, ValueError):
        if len(ready) > 1:
            for sample in ready:
                yield compile_and_run(sample, runner)
            return
        yield compile_and_run(ready[0], runner)
        return
    for index, sample in enumerate(ready):
        yield runner.check(sample, f"f{index}", vmfb)


def compile_and_run(sample: Sample, runner: Runner) -> Result:
    try:
        vmfb = harness.compile_module(harness.import_all({"main": sample.program}), timeout=90)
    except harness.CompileFailed as error:
        return sample.result(
            "compiler crash" if error.crashed else compile_class(str(error)),
            first_error(str(error)),
        )
    return runner.check(sample, "main", vmfb)


def compile_class(text: str) -> str:
    return (
        "does not legalize"
        if "failed to legalize" in text or "torch." in text
        else "does not compile"
    )


def first_error(text: str) -> str:
    found = re.search(r"error: (.*)", text)
    return found.group(1) if found else text[-400:]


class Runner:
    """Runs artifacts in a child process, which may die."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._start()

    def _start(self) -> None:
        self._pipe, theirs = self._context.Pipe()
        self._child = self._context.Process(target=_serve, args=(theirs,), daemon=True)
        self._child.start()
        theirs.close()

    def check(self, sample: Sample, name: str, vmfb: bytes) -> Result:
        self._pipe.send((vmfb, name, sample.tensors, sample.expected))
        try:
            if self._pipe.poll(60):
                outcome, detail = self._pipe.recv()
                return sample.result(outcome, detail)
            detail = "no end after 60 s"
        except EOFError:
            self._child.join()
            detail = f"the process died: {self._child.exitcode}"
        self._child.kill()
        self._start()
        return sample.result("run-time crash", detail)

    def close(self) -> None:
        self._child.kill()


def _serve(pipe: Any) -> None:
    while True:
        vmfb, name, tensors, expected = pipe.recv()
        try:
            actual = harness.Artifact(vmfb).call(name, tensors, expected)
            difference = harness.mismatch(actual, expected)
            pipe.send(("pass", "") if difference is None else ("wrong numbers", difference))
        except Exception as error:
            pipe.send(("run-time error", f"{type(error).__name__}: {error}"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--op", action="append", help="only operators of this name (repeatable)")
    parser.add_argument("--json", type=Path, help="append one line of JSON per sample to this file")
    parser.add_argument(
        "--skip", type=Path, help="leave out the operators in this file of JSON lines"
    )
    options = parser.parse_args()
    done = {json.loads(line)["op"] for line in options.skip.open()} if options.skip else set()
    warnings.simplefilter("ignore")
    runner, counts = Runner(), collections.Counter[str]()
    log = options.json.open("a") if options.json else None
    for op in op_db:
        if (options.op and op.name not in options.op) or op.name in done:
            continue
        began = time.monotonic()
        for result in walk_op(op, runner):
            result.seconds = round(time.monotonic() - began, 2)
            counts[result.outcome] += 1
            if result.outcome != "pass" or options.op:
                print(
                    f"{result.op:40} {result.variant:12} {result.dtype:15} {result.index} "
                    f"{result.outcome}: {result.detail[:220]}",
                    flush=True,
                )
            if log is not None:
                log.write(json.dumps(asdict(result)) + "\n")
                log.flush()
    print(dict(counts))
    runner.close()


if __name__ == "__main__":
    main()
