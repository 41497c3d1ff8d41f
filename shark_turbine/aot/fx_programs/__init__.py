# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Several entry points over one nn.Module, as `torch.export` programs that share its state."""

from .builder import FxProgramsBuilder
from .programs import FxPrograms, spec_of_fx_programs

__all__ = ["FxPrograms", "FxProgramsBuilder", "spec_of_fx_programs"]
