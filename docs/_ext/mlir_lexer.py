# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Colours for MLIR: a Pygments lexer for the blocks that are fenced as `mlir`.

Tokens follow MLIR's language reference (https://mlir.llvm.org/docs/LangRef/): value names, symbols,
blocks, attribute and type aliases, shapes, operations as `dialect.name`. It colours excerpts as well
as whole modules, so it never looks further than one line, and takes `...` for what was left out.
"""

import re
from typing import ClassVar

from docutils import nodes
from pygments.lexer import RegexLexer, bygroups, words
from pygments.token import (
    Comment,
    Keyword,
    Literal,
    Name,
    Number,
    Operator,
    Punctuation,
    String,
    Text,
    Whitespace,
)
from sphinx.application import Sphinx

_MODULE = re.compile(r"\s*(?:#[\w$.]+ = .*\n)*(?:builtin\.)?module\b[^\n]*\{$", re.MULTILINE)
_ELEMENT = r"(?:[su]?i\d+|index|none|bf16|tf32|f(?:16|32|64|80|128)|f[468]E\d+M\d+\w*)"
_WORDS = (
    "array", "attributes", "dense", "dense_resource", "do", "else", "false", "from", "init", "iter_args", "loc",
    "mutable", "opaque", "private", "public", "sparse", "splat", "step", "strided", "then", "to", "true", "unit",
)  # fmt: skip


class MlirLexer(RegexLexer):
    """Split MLIR text into tokens for highlighting."""

    name = "MLIR"
    aliases: ClassVar = ["mlir"]
    filenames: ClassVar = ["*.mlir"]
    url = "https://mlir.llvm.org"

    tokens: ClassVar = {
        "root": [
            (r"\s+", Whitespace),
            (r"//.*$", Comment.Single),
            (r'"(?:[^"\\\n]|\\.)*"', String.Double),
            (r"\.\.\.|…", Comment.Special),
            (r"%[\w$.-]+(?::\d+)?(?:#\d+)?", Name.Variable),
            (r'@(?:[\w$.-]+|"(?:[^"\\\n]|\\.)*")', Name.Function),
            (r"\^[\w$.-]+", Name.Label),
            (r"#[\w$.-]+", Name.Constant),
            (r"![\w$.-]+", Keyword.Type),
            # Shapes, then what stands in them: `tensor<2x?xf32>`, `vector<[4]xf32>`, `!torch.vtensor<[2,3],f32>`.
            (r"(?:tensor|memref|vector|complex|tuple)(?=<)", Keyword.Type),
            (r"((?:(?:\d+|\?|\*)x)+)(" + _ELEMENT + r")\b", bygroups(Number.Integer, Keyword.Type)),
            (r"(?:(?:\d+|\?|\*)x)+", Number.Integer),
            (_ELEMENT + r"\b", Keyword.Type),
            (r"-?\d+\.\d*(?:[eE][+-]?\d+)?", Number.Float),
            (r"-?\d+[eE][+-]?\d+", Number.Float),
            (r"0x[0-9A-Fa-f]+", Number.Hex),
            (r"-?\d+", Number.Integer),
            (r"[A-Za-z_]\w*(?:\.[\w$]+)+", Name.Builtin),
            (r"(module|func)\b", Name.Builtin),
            (words(_WORDS, suffix=r"\b"), Keyword),
            (r"[A-Za-z_][\w$]*", Name.Attribute),
            (r"->|[=:*+?/-]", Operator),
            (r"\{-#|#-\}", Punctuation),
            (r"[()\[\]{}<>,|]", Punctuation),
            (r"'[^'\n]*'", Literal.String.Single),
            (r".", Text),
        ],
    }


def mark_outputs(_: Sphinx, document: nodes.document) -> None:
    """Colour what cells of notebooks printed, where that is a module."""
    for block in document.findall(nodes.literal_block):
        if "output" in block["classes"] and _MODULE.match(block.astext()):
            block["language"] = "mlir"


def setup(app: Sphinx) -> dict[str, object]:
    """Give Sphinx the lexer."""
    app.add_lexer("mlir", MlirLexer)
    app.connect("doctree-read", mark_outputs)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
