# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The room of `torch.compile(..., backend="turbine_cpu")`."""

from ..versions import require

require("torch")

from .backend import turbine_cpu  # noqa: E402  after the check of the versions
from .explain import explain  # noqa: E402
from .options import Options  # noqa: E402
from .report import EagerOperator, GraphReport, PieceReport, Report  # noqa: E402

__all__ = [
    "EagerOperator",
    "GraphReport",
    "Options",
    "PieceReport",
    "Report",
    "explain",
    "turbine_cpu",
]
