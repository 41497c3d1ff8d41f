# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What this machine can do at most: arithmetic in matrix products, and bytes to and from memory.

Measured once for each number of threads and kept in the cache folder. Arithmetic: the fastest of the
products of two square matrices of 512 that fit in a second, by PyTorch's own library, counted as
2·N³ operations. Memory: the fastest of the sums of two arrays of 64 MiB into a third, three times their
bytes. A machine that was busy then has too small peaks: `measure_peaks(again=True)`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from shark_turbine import dtypes
from shark_turbine.cache_folder import remember, remembered
from shark_turbine.runtime.machine import cpu_model

_SIZE = 512
_ELEMENTS = 2**24
_SECONDS = 1.0
_FACTS = "peaks"
_MEASURED = ("f32", "f64", "f16", "bf16")


@dataclass(frozen=True, slots=True)
class Peaks:
    """The most that a number of threads of this machine can do.

    Attributes:
        threads: how many.
        flops: operations in a second, by the name of the dtype.
        bandwidth: bytes to and from memory in a second.
    """

    threads: int
    flops: dict[str, float]
    bandwidth: float

    def fastest(self, flops: int | None, nbytes: int | None, dtype: str | None) -> float | None:
        """Return the seconds that work takes at least; None where nothing of it is known.

        Args:
            flops: how many operations it is; None where that is not known.
            nbytes: how many bytes it moves; None where that is not known.
            dtype: what it computes with, such as `bf16`; None is `f32`.
        """
        times = [self.computing(flops, dtype), self.moving(nbytes)]
        return max((each for each in times if each is not None), default=None) or None

    def computing(self, flops: int | None, dtype: str | None) -> float | None:
        """Return the seconds of `flops` operations; None where the `dtype` has no peak."""
        peak = self.flops.get(dtype or "f32")
        return None if flops is None or peak is None else flops / peak

    def moving(self, nbytes: int | None) -> float | None:
        """Return the seconds of the traffic of `nbytes` bytes; None where they are not known."""
        return None if nbytes is None else nbytes / self.bandwidth

    def to_json(self) -> dict[str, Any]:
        """Return the peaks as JSON can hold them, in units of 10⁹."""
        return {
            "threads": self.threads,
            "gflops": {name: value / 1e9 for name, value in self.flops.items()},
            "gbs": self.bandwidth / 1e9,
        }


def measure_peaks(
    threads: int | None = None, dtypes: tuple[str, ...] = ("f32",), *, again: bool = False
) -> Peaks:
    """Return the machine's peaks, measured now if they were not before.

    Args:
        threads: how many compute; None is as many as PyTorch uses.
        dtypes: names of what matrix products multiply; others than floats have no peak.
        again: measure also what is known.
    """
    count = threads or torch.get_num_threads()
    known = {} if again else remembered(_FACTS)
    wanted = [f"flops.{name}" for name in dict.fromkeys(("f32", *dtypes)) if name in _MEASURED]
    found: dict[str, float] = {}
    for name in [*wanted, "bandwidth"]:
        key = f"{cpu_model()}, {count} threads, {name}"
        value = known.get(key)
        if not isinstance(value, float):
            value = _measured(name, count)
            remember(_FACTS, {key: value})
        found[name] = value
    flops = {name.removeprefix("flops."): found[name] for name in wanted}
    return Peaks(count, flops, found["bandwidth"])


def _measured(name: str, threads: int) -> float:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            if name == "bandwidth":
                return _bandwidth()
            return _arithmetic(dtypes.from_name(name.removeprefix("flops.")).torch)
    finally:
        torch.set_num_threads(before)


def _arithmetic(dtype: torch.dtype) -> float:
    # Not zeros: some machines are faster on them.
    left, right = (torch.randn(_SIZE, _SIZE).to(dtype) for _ in range(2))
    out = torch.empty(_SIZE, _SIZE, dtype=dtype)
    return 2 * _SIZE**3 / _fastest(lambda: torch.mm(left, right, out=out))


def _bandwidth() -> float:
    left, right, out = (torch.ones(_ELEMENTS) for _ in range(3))
    return 3 * out.nbytes / _fastest(lambda: torch.add(left, right, out=out))


def _fastest(work: Callable[[], Any]) -> float:
    work()
    times: list[float] = []
    end = time.perf_counter() + _SECONDS
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)
