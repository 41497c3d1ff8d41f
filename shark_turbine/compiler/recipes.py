# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Recipes: named sets of compiler options, chosen by the target and by what is in the module."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from typing import Any

from shark_turbine.errors import CompileError

from .core_cache import cache_of_core
from .facts import ModuleFacts
from .rewrites import REWRITES
from .targets import CPU_BACKEND, CUDA_BACKEND, Target
from .tiles import LIBRARIES

# Operands of matrix products in tiles, as the CPU wants them; weights are packed once.
_PACKING = "--iree-opt-data-tiling"
# How much of an operand a worker goes over at a time, again and again. The compiler's own measure is
# 256 KiB: on a CPU with a cache of 2 MiB for each core, what fills that cache is up to a fifth faster.
_TILE_BYTES = "--iree-llvmcpu-matmul-tile-bytes="
_USUAL_TILES, _LARGEST_TILES = 2**18, 2**21
# Of some widths the usual tiles need more stack than there is.
_SMALL_TILES = f"{_TILE_BYTES}{2**16}"
# Convolutions as matrix products: 5 times as fast on ResNet-50.
_IM2COL = "--iree-global-opt-use-im2col-for-convs"
# Kernels written for Winograd's way are 16/9 as large: made when compiling, not in every call.
_LARGER_CONSTANTS = f"--iree-opt-const-expr-max-size-increase-threshold={2**25}"
# Sums along the last dim side by side, in a vector: one after the other, as is the default, takes 12 times
# as long, and adds up more rounding.
_VECTOR_SUMS = "--iree-llvmcpu-reassociate-fp-reductions"
_WINOGRAD = "winograd"
# Tiles of our choice, by what a CPU must have for them, the best first: other CPUs were not measured.
_WITH_AVX512 = "8x32"
_TILES = {_WITH_AVX512: {"+avx512f"}, "6x16": {"+avx2", "+fma"}}
_OF_WEIGHTS, _OF_HEADS = "panels-", "heads-"
_OF_DEPTHWISE = ("padding-before-expansion", "depthwise-as-sums")
_NARROW = (*_OF_DEPTHWISE, "narrow-as-products")
_LAST, _PADDING = "channels-last", "padding-at-once"
# The compiler's own code of convolutions as they are, with their channels last, is good with AVX-512 alone.
_DIRECT = "direct-8x16"
# Without what is written in `linalg`.
_OTHER_FORMS = {_LAST: _NARROW, _DIRECT: (), _PADDING: ()}
# What is made of constants is made when loading, on the GPU: the compiler would cut it for a GPU, and run it
# on this CPU.
_MADE_WHEN_LOADING = "--iree-opt-const-eval=false"
# For GPUs: what `tiles` says, and weights as those read them.
_OF_WORKGROUPS, _TURNED = "workgroups", "turned-weights"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a module is compiled, beside what it is compiled for and what keeps it right.

    Args:
        name: what the manifest calls it.
        flags: options of `iree-compile`; those that a call gives replace the same ones.
        rewrites: names of `shark_turbine.compiler.REWRITES`: forms in which operations are written
            before the compiler sees them.
        tiles: a name of `compiler.tiles.LIBRARIES`: how matrix products are cut for a GPU. None leaves
            it to the compiler.
        packs_external: whether external weights are packed when they are loaded: faster matrix
            products, for a second copy of the weights in memory.
        chooses: whether options are added by what is in the module, as `"auto"` does.
        device: where `load` runs the artifact if it is not told: `local-sync`,
            `local-task?threads=2`. None is every core, or what `chooses` finds.
    """

    name: str
    flags: tuple[str, ...] = ()
    rewrites: tuple[str, ...] = ()
    tiles: str | None = None
    packs_external: bool = False
    chooses: bool = False
    device: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "flags", tuple(self.flags))
        object.__setattr__(self, "rewrites", tuple(self.rewrites))
        for name in self.rewrites:
            if name not in REWRITES:
                raise CompileError(
                    "there is no such rewrite",
                    stage="options",
                    got=f"Recipe({self.name!r}, rewrites={self.rewrites!r})",
                    expected=f"names of {', '.join(map(repr, REWRITES))}",
                    fix=f"take {name!r} out",
                )
        if self.tiles is not None and self.tiles not in LIBRARIES:
            raise CompileError(
                "there are no such tiles",
                stage="options",
                got=f"Recipe({self.name!r}, tiles={self.tiles!r})",
                expected=", ".join(map(repr, LIBRARIES)),
                fix="leave tiles= out",
            )

    def to_json(self) -> dict[str, Any]:
        """Return the manifest's form."""
        told = {"tiles": self.tiles, "device": self.device}
        return {
            "name": self.name,
            "flags": list(self.flags),
            "rewrites": list(self.rewrites),
            **{name: value for name, value in told.items() if value is not None},
        }

    def __str__(self) -> str:
        tiles = () if self.tiles is None else (f"tiles={self.tiles}",)
        words = " ".join((*self.rewrites, *tiles, *self.flags))
        return f"{self.name}: {words or 'no options of its own'}"


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("auto", chooses=True),
        # Weights that lie in a file are packed like those inside the module.
        Recipe("prepacked", chooses=True, packs_external=True),
        # Neither specialised copies of functions nor folded constants that are larger than before.
        Recipe(
            "size",
            (
                "--iree-opt-const-expr-max-size-increase-threshold=0",
                "--iree-llvmcpu-debug-symbols=false",
                "--iree-vm-bytecode-module-strip-debug-ops",
            ),
        ),
        # Names, lines and symbols for debuggers and profilers, and no optimization that hides them.
        Recipe(
            "debug",
            (
                "--iree-opt-level=O0",
                "--iree-llvmcpu-debug-symbols=true",
                "--iree-vm-bytecode-module-strip-source-map=false",
                "--iree-opt-strip-assertions=false",
            ),
        ),
        Recipe("portable", chooses=True),
        Recipe("none"),
    )
}


def make_recipe(given: str | Recipe) -> Recipe:
    """Return a recipe by its name, or the one that is given.

    Raises:
        CompileError: there is no recipe of that name.
    """
    if isinstance(given, Recipe):
        return given
    found = RECIPES.get(given) if isinstance(given, str) else None
    if found is None:
        names = list(RECIPES)
        close = difflib.get_close_matches(str(given), names, n=1)
        raise CompileError(
            "there is no such recipe",
            stage="options",
            got=f"recipe={given!r}",
            expected=f"one of {', '.join(map(repr, names))}, or a compiler.Recipe",
            fix=f"did you mean {close[0]!r}?" if close else 'recipe="auto"',
        )
    return found


def choose(
    recipe: Recipe, target: Target, facts: ModuleFacts, cpu_features: str | None = None
) -> Recipe:
    """Return a recipe with the options that suit a module on a target.

    `cpu_features` are those that code for the target may use: `ResolvedTarget` has them.

    Packing weights pays where they are packed once: when they are stored in the module and never
    change. It costs more than it brings where they are arguments or mutable. Convolutions gain in
    either case.
    """
    if recipe.chooses and target.backends == (CUDA_BACKEND,):
        return _for_cuda(recipe, facts)
    if not recipe.chooses or CPU_BACKEND not in target.backends:
        return recipe
    flags = [*recipe.flags, _VECTOR_SUMS]
    has_weights = facts.stored_weights or (recipe.packs_external and facts.external_weights)
    # What is made of weights is made once.
    are_at_hand = recipe.packs_external or not facts.external_weights
    tile = _tile(cpu_features)
    rewrites: tuple[str, ...] = ()
    if facts.suits_channels_last and tile and are_at_hand:
        rewrites = (*([_DIRECT] if tile == _WITH_AVX512 else []), _LAST, _PADDING)
    elif facts.has_other_convolutions:
        # An option for the whole module: the compiler's own code for the others would go as well.
        flags += [_IM2COL]
        rewrites = (*_OF_DEPTHWISE, "convolutions-as-products")
    elif facts.has_convolutions:
        rewrites = _NARROW
    gains = facts.has_convolutions or (facts.has_products and has_weights)
    # With a dynamic batch IREE 3.13 packs some operands wrongly: a ViT then gives other numbers.
    if gains and not facts.has_dynamic_sizes:
        flags += [_PACKING, *_tiles(target)]
        if facts.has_square_convolutions and has_weights:
            flags += [_LARGER_CONSTANTS]
            rewrites = (_WINOGRAD, *rewrites)
    of_weights = facts.has_panels or _WINOGRAD in rewrites or _LAST in rewrites
    if tile and of_weights and are_at_hand:
        rewrites = (*rewrites, _OF_WEIGHTS + tile)
    if tile and facts.has_heads:
        rewrites = (*rewrites, _OF_HEADS + tile)
    return replace(
        recipe,
        flags=tuple(flags),
        rewrites=rewrites,
        packs_external=False,
        chooses=False,
        device=recipe.device or _device(target, facts),
    )


def _for_cuda(recipe: Recipe, facts: ModuleFacts) -> Recipe:
    """Return a recipe with what suits a module on GPUs with CUDA."""
    return replace(
        recipe,
        # With the compiler's own code a ResNet-50 gives wrong numbers (IREE 3.13): of its 1 x 1 convolutions
        # with a stride, it seems, since those take nearly all of the time.
        flags=(*recipe.flags, _MADE_WHEN_LOADING, *((_IM2COL,) if facts.has_convolutions else ())),
        rewrites=(_TURNED,) if facts.has_panels else (),
        tiles=_OF_WORKGROUPS,
        packs_external=False,
        chooses=False,
    )


def cautious(recipe: Recipe) -> list[Recipe]:
    """Return recipes without what the code generator fails at now and then, in the order to try.

    It cannot tile some operands of dynamic sizes, and tiles of some shapes need too much stack.
    """
    if recipe.tiles is not None:
        others = tuple(name for name in recipe.rewrites if name != _TURNED)
        named = _named(recipe, "tiles of the compiler", recipe.flags, others)
        return [replace(named, tiles=None)]
    untiled = tuple(flag for flag in recipe.flags if not flag.startswith(_TILE_BYTES))
    flags = tuple(flag for flag in untiled if flag not in (_PACKING, _LARGER_CONSTANTS))
    milder = []
    if _PACKING in recipe.flags and _SMALL_TILES not in recipe.flags:
        milder.append(_named(recipe, "small tiles", (*untiled, _SMALL_TILES), recipe.rewrites))
    others = tuple(
        form
        for name in recipe.rewrites
        if not name.startswith((_OF_WEIGHTS, _OF_HEADS))
        for form in _OTHER_FORMS.get(name, (name,))
    )
    if others != recipe.rewrites:
        given = milder[-1].flags if milder else recipe.flags
        milder.append(_named(recipe, "tiles of the compiler", given, others))
    if flags != untiled:
        direct = tuple(name for name in recipe.rewrites if name != _WINOGRAD)
        milder.append(_named(recipe, "unpacked", flags, direct))
    im2col = () if _IM2COL in flags else (_IM2COL,)
    plain = _named(recipe, "plain", (*flags, *im2col), ())
    return [*milder, plain] if recipe.rewrites else milder


def _named(recipe: Recipe, name: str, flags: tuple[str, ...], rewrites: tuple[str, ...]) -> Recipe:
    return replace(recipe, name=f"{recipe.name}, {name}", flags=flags, rewrites=rewrites)


def _tile(cpu_features: str | None) -> str | None:
    """Return the tile that suits the registers of a CPU, if any does."""
    has = set((cpu_features or "").split(","))
    return next((tile for tile, needed in _TILES.items() if needed <= has), None)


def _device(target: Target, facts: ModuleFacts) -> str | None:
    """Return the calling thread where the others would cost more than they save, and None else."""
    saved = facts.saved_by_threads
    return "local-sync" if target.cpu == "host" and saved is not None and saved < 0 else None


def _tiles(target: Target) -> tuple[str, ...]:
    """Return tiles as large as the cache of a core, where the machine that will run it is known."""
    size = min((target.cpu == "host" and cache_of_core()) or 0, _LARGEST_TILES)
    return (f"{_TILE_BYTES}{size}",) if size > _USUAL_TILES else ()
