# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What torch assumed of the sizes that a function is given as numbers: refused, or checked.

torch.export verifies what it assumes of dims. Of whole numbers it verifies nothing: a branch that the
example took is simply the function from there on.
"""

from __future__ import annotations

import traceback

import torch

from shark_turbine.errors import SourceLocation, TracingError

from ..dims import DimRange
from .export_errors import CallDescription, is_machinery
from .graph_types import user_inputs

# torch takes sizes to be 2 at least where it may; the functions work for 0 and 1 as well.
_USUAL_MINIMUM = 2
_LARGEST = 2**62


def refuse_decisions(program: torch.export.ExportedProgram, description: CallDescription) -> None:
    """Refuse a function whose own lines decide by a number of type index.

    Raises:
        TracingError: Python control flow depends on a number that is known only at run time.
    """
    numbers = [value.node for value in user_inputs(program) if isinstance(value, torch.SymInt)]
    if not numbers:
        return
    symbols = {symbol for node in numbers for symbol in (node._expr, node.expr)}
    for guard in numbers[0].shape_env.guards:
        place = guard.sloc.framework_loc
        if not isinstance(place, traceback.FrameSummary) or is_machinery(place.filename):
            continue
        if guard.expr.free_symbols & symbols:
            location = SourceLocation(place.filename, place.lineno or 0)
            raise TracingError(
                f"{description.function} decides by a number that is known only at run time",
                where=description.where,
                location=location,
                got=location.source_line() or None,
                expected="the same operations for every number",
                fix="use torch.where, or pass a Python number: it is known while tracing",
            )


def number_ranges(program: torch.export.ExportedProgram) -> list[DimRange]:
    """Return, for each argument, the range that torch assumed; any size where it assumed none."""
    ranges: list[DimRange] = []
    for value in user_inputs(program):
        node = value.node if isinstance(value, torch.SymInt) else None
        bounds = None if node is None else program.range_constraints.get(node.expr)
        low = 0 if bounds is None or bounds.lower <= _USUAL_MINIMUM else int(bounds.lower)
        high = None if bounds is None or bounds.upper >= _LARGEST else int(bounds.upper)
        ranges.append(DimRange(low, high))
    return ranges
