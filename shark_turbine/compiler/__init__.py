# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The compiler room: an MLIR module to a vmfb, through IREE's compiler in a child process."""

from .cache import Outcome, compile_cached
from .driver import compile
from .machines import MACHINES, Machine
from .options import DEFAULT_TIMEOUT, Lowering
from .recipes import RECIPES, Recipe
from .rewrites import REWRITES
from .targets import ResolvedTarget, Target, backend_names
from .torch_mlir import Kind, lower
from .trials import Depth, refusals
from .vmfb import Vmfb
from .watching import watching_phases

__all__ = [
    "DEFAULT_TIMEOUT",
    "MACHINES",
    "RECIPES",
    "REWRITES",
    "Depth",
    "Kind",
    "Lowering",
    "Machine",
    "Outcome",
    "Recipe",
    "ResolvedTarget",
    "Target",
    "Vmfb",
    "backend_names",
    "compile",
    "compile_cached",
    "lower",
    "refusals",
    "watching_phases",
]
