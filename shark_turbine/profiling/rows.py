# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Rows of a profile: the dispatches of a function with their times, their work, and their origins."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from shark_turbine.dispatches import DispatchMap, Kernel, Origin, Site
from shark_turbine.errors import SourceLocation

from .peaks import Peaks
from .recording import Run, Runs

Kind = Literal["dispatch", "outside", "eager"]
_PREFIX = re.compile(r"^.*?(?:dispatch|encoding)_\d+_")


@dataclass(frozen=True, slots=True)
class Row:
    """One place of the program that runs generated code, or the time beside all of them.

    Attributes:
        kind: `dispatch`; `outside`, the time of a call in which no dispatch ran; `eager`, what PyTorch
            and Python did between calls of compiled code.
        name: what is computed and on what shapes, in the compiler's words.
        kernel: the function of the artifact that ran.
        function: the public function that it belongs to.
        origins: modules and lines that were fused there, the most important first.
        calls: how often it runs in one call of the function.
        seconds: of all of them together, the median of the runs.
        share: of the profile's time.
        flops: the operations of all of them; None where that is not known.
        nbytes: the bytes that all of them move; None where that is not known.
        dtype: what they compute with, such as `f32`; None where that is not known.
        of_peak: the share of what the machine can do at most, given this work: its arithmetic or its
            memory, whichever takes longer. More than 1 where data came out of a cache.
        bound: which of the two takes longer.
    """

    kind: Kind
    name: str
    kernel: str
    function: str
    origins: tuple[Origin, ...]
    calls: float
    seconds: float
    share: float
    flops: int | None
    nbytes: int | None
    dtype: str | None
    of_peak: float | None
    bound: Literal["compute", "memory"] | None

    @property
    def module_path(self) -> str | None:
        """The path of the `nn.Module`, `""` for the root; of several what they share."""
        return self.origins[0].path if self.origins else None

    @property
    def location(self) -> SourceLocation | None:
        """The line of the user's source."""
        return self.origins[0].location if self.origins else None

    @property
    def gflops(self) -> float | None:
        """10⁹ operations in a second."""
        return None if self.flops is None or not self.seconds else self.flops / self.seconds / 1e9

    @property
    def gbs(self) -> float | None:
        """10⁹ bytes in a second."""
        return None if self.nbytes is None or not self.seconds else self.nbytes / self.seconds / 1e9

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON can hold it."""
        return {
            "kind": self.kind,
            "name": self.name,
            "kernel": self.kernel,
            "function": self.function,
            "module": self.module_path,
            "location": None if self.location is None else str(self.location),
            "fused": [
                {"module": o.path, "location": None if o.location is None else str(o.location)}
                for o in self.origins[1:]
            ],
            "calls": self.calls,
            "seconds": self.seconds,
            "share": self.share,
            "flops": self.flops,
            "bytes": self.nbytes,
            "dtype": self.dtype,
            "gflops": self.gflops,
            "gbs": self.gbs,
            "of_peak": self.of_peak,
            "bound": self.bound,
        }


@dataclass(frozen=True, slots=True)
class Measured:
    """A place of the program before its share of the whole is known."""

    site: Site
    kernel: Kernel
    origins: tuple[Origin, ...]
    calls: float
    seconds: float


def measured_sites(runs: Runs, known: DispatchMap | None, function: str) -> list[Measured]:
    """Return the dispatches of a function, site by site where runs can be matched with the program."""
    sites = _program(known, function)
    if runs.are_alike and [site.kernel for site in sites] == list(runs.typical.kernels):
        spans = zip(*(run.dispatches for run in runs.runs), strict=True)
        return [
            Measured(site, _kernel(known, site.kernel), _origins(known, site), 1, _median(each))
            for site, each in zip(sites, spans, strict=True)
        ]
    return _by_kernel(runs, known)


def _median(spans: Iterable[Any]) -> float:
    return statistics.median(span.seconds for span in spans)


def _program(known: DispatchMap | None, function: str) -> Sequence[Site]:
    return () if known is None else known.sites.get(function, ())


def _by_kernel(runs: Runs, known: DispatchMap | None) -> list[Measured]:
    """Return one place for each kernel: loops and branches do not say which of its sites ran."""
    found: list[Measured] = []
    totals = [_totals(run) for run in runs.runs]
    everywhere = [site for sites in (known.sites if known else {}).values() for site in sites]
    calls = runs.typical.kernels
    divisor = 1 if runs.are_alike else len(runs.runs)
    for name in dict.fromkeys(kernel for run in runs.runs for kernel in run.kernels):
        seconds = statistics.median(total.get(name, 0.0) for total in totals)
        own = [site for site in everywhere if site.kernel == name]
        site = Site(name, tuple(number for each in own for number in each.operations))
        origins = [_origins(known, each) for each in own]
        found.append(
            Measured(
                site, _kernel(known, name), _shared(origins), calls.count(name) / divisor, seconds
            )
        )
    return found


def _totals(run: Run) -> Mapping[str, float]:
    totals: dict[str, float] = {}
    for span in run.dispatches:
        totals[span.name] = totals.get(span.name, 0.0) + span.seconds
    return totals


def _kernel(known: DispatchMap | None, name: str) -> Kernel:
    found = known.kernels.get(name) if known is not None else None
    return found or Kernel(name, None, None)


def _origins(known: DispatchMap | None, site: Site) -> tuple[Origin, ...]:
    """Return where a site came from; callers of a module's code are left out."""
    if known is None:
        return ()
    found = [known.origins[number] for number in site.operations if number in known.origins]
    in_modules = [origin for origin in found if origin.path is not None]
    return tuple(dict.fromkeys(in_modules or found))


def _shared(origins: Sequence[tuple[Origin, ...]]) -> tuple[Origin, ...]:
    """Return the origin of several sites: the path that they share, the line if it is one."""
    first = [each[0] for each in origins if each]
    if len(origins) <= 1 or not first:
        return origins[0] if origins else ()
    paths = {origin.path for origin in first if origin.path is not None}
    lines = {origin.location for origin in first}
    shared = ".".join(_common([path.split(".") for path in paths])) if paths else None
    return (Origin(shared, lines.pop() if len(lines) == 1 else None), *dict.fromkeys(first))


def _common(paths: Sequence[Sequence[str]]) -> list[str]:
    """Return the names that all paths begin with."""
    found: list[str] = []
    for names in zip(*paths, strict=False):
        if len(set(names)) > 1:
            break
        found.append(names[0])
    return found


def to_rows(measured: Sequence[Measured], function: str, times: float, peaks: Peaks) -> list[Row]:
    """Return rows of measured sites, without shares; `times` is how often the function is called."""
    return [_row(each, function, times, peaks) for each in measured]


def _row(each: Measured, function: str, times: float, peaks: Peaks) -> Row:
    calls = each.calls * times
    flops = None if each.kernel.flops is None else round(each.kernel.flops * calls)
    nbytes = None if each.kernel.nbytes is None else round(each.kernel.nbytes * calls)
    seconds = each.seconds * times
    computing = peaks.computing(flops, each.kernel.dtype)
    moving = peaks.moving(nbytes)
    fastest = peaks.fastest(flops, nbytes, each.kernel.dtype)
    bound = None
    if computing is not None and moving is not None and fastest:
        bound = "compute" if computing >= moving else "memory"
    return Row(
        kind="dispatch",
        name=_PREFIX.sub("", each.kernel.name) or each.kernel.name,
        kernel=each.kernel.name,
        function=function,
        origins=each.origins,
        calls=calls,
        seconds=seconds,
        share=0.0,
        flops=flops,
        nbytes=nbytes,
        dtype=each.kernel.dtype,
        of_peak=fastest / seconds if fastest and seconds else None,
        bound=bound,
    )


def time_beside(kind: Kind, name: str, function: str, seconds: float) -> Row:
    """Return the row of time that is no dispatch's."""
    return Row(kind, name, "", function, (), 1, seconds, 0.0, None, None, None, None, None)
