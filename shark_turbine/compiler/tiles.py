# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How the compiler cuts matrix products for GPUs: a library of IREE's transform dialect.

For f32 on CUDA the compiler lets each thread read its operands from the card's memory. Here the threads of
a workgroup copy parts of both into the memory that they share, and keep sums for a few rows and columns in
registers. The sums stay f32: no TF32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

# Where the compiler is told of a library.
_FLAG = "--iree-codegen-transform-dialect-library="


@dataclass(frozen=True, slots=True)
class Tile:
    """What a workgroup computes at once: `rows` x `columns`, going over the depth in pieces.

    Each of its threads has sums for `own_rows` x `own_columns` of them in registers. Gaps between the rows that
    lie in shared memory keep threads off each other's banks, and take apart what is read as four numbers.
    """

    rows: int
    columns: int
    depth: int
    own_rows: int
    own_columns: int
    has_gaps: bool = False

    @property
    def threads(self) -> int:
        return (self.rows // self.own_rows) * (self.columns // self.own_columns)


@dataclass(frozen=True, slots=True)
class _Form:
    """Letters of the loops over a batch, and of those that the dims of both operands belong to."""

    batch: str
    left: str
    right: str

    @property
    def has_batch(self) -> bool:
        return bool(self.batch) and self.batch in self.left

    @property
    def shares_left(self) -> bool:
        return bool(self.batch) and self.batch not in self.left

    @property
    def is_turned(self) -> bool:
        return self.right.endswith("nk")


@dataclass(frozen=True, slots=True)
class _Rule:
    """A tile, and the least sizes of the products that it is for, by loop; None is any size."""

    tile: Tile
    sizes: dict[str, int | None]


# The third is that of convolutions of several images: one kernel times the points of each.
_FORMS = (
    _Form("", "mk", "kn"),
    _Form("b", "bmk", "bkn"),
    _Form("b", "mk", "bkn"),
    _Form("", "mk", "nk"),
    _Form("b", "bmk", "bnk"),
)
# Many workgroups: as many sums for each number that is read as registers have room for.
_MANY = Tile(64, 64, 16, 8, 4)
# Fewer: small pieces, so that every multiprocessor has one, and long ones of the depth, since there are few
# threads that work while others wait for memory.
_SOME, _FEW, _FEWEST = Tile(32, 32, 64, 4, 4), Tile(32, 32, 64, 2, 2), Tile(16, 32, 128, 2, 2)
# From how many pieces of 32 x 32 on, as measured on an H200.
_PIECE, _FROM = 32, ((512, _MANY), (256, _SOME), (64, _FEW))
# What is left, by the least depth.
_SHALLOW = Tile(32, 32, 32, 2, 4)
# Where columns of the right operand lie in one piece.
_TURNED = Tile(32, 32, 32, 4, 4, has_gaps=True)
# The compiler's own code is better for a single row or column.
_LEAST, _LEAST_DEPTH = 2, 16
# What MLIR has for a size that is not known when compiling.
_UNKNOWN = -(2**63)
# Steps of the number of matrices in a batch.
_BATCH_STEP = 8


def flags(name: str | None, folder: str, theirs: Sequence[str]) -> list[str]:
    """Write a library into a folder, and return the options that name it.

    Nothing is done where the name is None, or where the options of a call name a library of their own.
    """
    if name is None or any(flag.startswith(_FLAG) for flag in theirs):
        return []
    path = Path(folder) / f"{name}.mlir"
    path.write_text(LIBRARIES[name]())
    return [f"{_FLAG}{path}"]


def _workgroups() -> str:
    """Return the text of the library for products in f32.

    The depth must be known: the compiler's loop over one that is not never ends (IREE 3.13).
    """
    matchers = [
        _matcher(f"match_{number}", form, rule)
        for number, (form, rule) in enumerate(
            (form, rule) for form in _FORMS for rule in _rules(form)
        )
    ]
    entries = ",\n".join(f"      @match_{number} -> @annotate" for number in range(len(matchers)))
    return "\n".join(
        [
            "module attributes {transform.with_named_sequence} {",
            _ANNOTATE,
            *matchers,
            _ENTRY.format(entries=entries),
            "}",
        ]
    )


def _rules(form: _Form) -> Iterator[_Rule]:
    """Return rules for products of a form, of which the first that matches counts."""
    for least, tile in () if form.is_turned else _FROM:
        for rows, columns, batch in _shares(least, form):
            # Not where most of a tile would be empty.
            rows = max(rows * _PIECE, tile.rows // 2 + 1)
            columns = max(columns * _PIECE, tile.columns // 2 + 1)
            yield _Rule(tile, {"m": rows, "n": columns, "k": tile.depth, "b": batch})
    for rows in (_LEAST, _UNKNOWN):
        for columns in (_LEAST, _UNKNOWN):
            few = (_SOME,) if _UNKNOWN in (rows, columns) else (_FEWEST, _FEW)
            for tile in (_TURNED,) if form.is_turned else (*few, _SHALLOW):
                depth = _LEAST_DEPTH if tile in (_TURNED, _SHALLOW) else tile.depth
                yield _Rule(tile, {"m": rows, "n": columns, "k": depth, "b": None})


def _shares(pieces: int, form: _Form) -> Iterator[tuple[int, int, int]]:
    """Return powers of two of which the product is `pieces`: of rows, columns, and of a batch."""
    batch = 1
    while batch <= (pieces if form.batch else 1):
        share = pieces // batch
        yield from ((1 << e, share >> e, batch) for e in range(share.bit_length()))
        batch *= _BATCH_STEP


_ANNOTATE = """\
  transform.named_sequence @annotate(
      %op: !transform.any_op {transform.readonly}, %how: !transform.any_param {transform.readonly}) {
    transform.annotate %op "compilation_info" = %how : !transform.any_op, !transform.any_param
    transform.yield
  }"""

_ENTRY = """\
  transform.named_sequence @__kernel_config(%variant: !transform.any_op {{transform.consumed}}) {{
    transform.foreach_match in %variant
{entries}
      : (!transform.any_op) -> !transform.any_op
    transform.yield
  }}"""


def _matcher(name: str, form: _Form, rule: _Rule) -> str:
    return f"""\
  transform.named_sequence @{name}(%op: !transform.any_op {{transform.readonly}})
      -> (!transform.any_op, !transform.any_param) {{
    %b, %m, %n, %k = transform.iree.match.contraction %op, lhs_type = f32, rhs_type = f32, output_type = f32,
      indexing_maps = {_maps(form)} : !transform.any_op -> !transform.param<i64>
{"".join(_conditions(form, rule.sizes))}\
    %how = transform.param.constant {_compilation_info(rule.tile, form)} -> !transform.any_param
    transform.yield %op, %how : !transform.any_op, !transform.any_param
  }}"""


def _conditions(form: _Form, sizes: dict[str, int | None]) -> Iterator[str]:
    """Return lines that hold for products of at least these sizes."""
    kind = "!transform.param<i64>"
    for loop, size in sizes.items():
        # What only one operand has does not count as a batch for the compiler, but as more columns.
        if size is not None and (loop != "b" or form.has_batch):
            yield f"    %of_{loop} = transform.param.constant {size} : i64 -> {kind}\n"
            least = f"%of_{loop}"
            if loop == "n" and form.shares_left:
                batch = sizes["b"] or size
                yield f"    %of_b = transform.param.constant {batch} : i64 -> {kind}\n"
                yield f"    %both = transform.merge_handles %of_b, %of_n : {kind}\n"
                least = "%both"
            compare = "eq" if size == _UNKNOWN else "ge"
            yield f"    transform.match.param.cmpi {compare} %{loop}, {least} : {kind}\n"


def _maps(form: _Form) -> str:
    loops = ", ".join((*form.batch, "m", "n", "k"))
    reads = (", ".join(dims) for dims in (form.left, form.right, f"{form.batch}mn"))
    return f"[{', '.join(f'affine_map<({loops}) -> ({read})>' for read in reads)}]"


def _compilation_info(tile: Tile, form: _Form) -> str:
    ones, zeros = [1] * len(form.batch), [0] * len(form.batch)
    config = ", ".join(
        (
            f"workgroup = {[*ones, tile.rows, tile.columns, 0]}",
            f"reduction = {[*zeros, 0, 0, tile.depth]}",
            f"thread = {[*ones, tile.own_rows, tile.own_columns, 0]}",
            # Both operands are copied to shared memory, with zeros for what lies outside of them; what is added
            # to as well, since the compiler fails on a part of that, where it is a bias.
            "promote_operands = [0, 1, 2]",
            f"padding = {[*ones, tile.rows, tile.columns, tile.depth]}",
        )
    )
    options = (
        "#iree_gpu.pipeline_options<no_reduce_shared_memory_bank_conflicts = "
        f"{str(not tile.has_gaps).lower()}, use_igemm_convolution = false>"
    )
    return (
        f"#iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{{{config}}}>, "
        "translation_info = #iree_codegen.translation_info<pipeline = #iree_gpu.pipeline<TileAndFuse> "
        f"workgroup_size = [{tile.threads}, 1, 1] subgroup_size = 32, {{gpu_pipeline_options = {options}}}>>"
    )


LIBRARIES: dict[str, Callable[[], str]] = {"workgroups": _workgroups}
