# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the documentation site is made of: links between documents, colours of MLIR, the check of what was built."""

from pathlib import Path

import pytest
from docutils import nodes
from docutils.utils import new_document
from pygments.token import Error, Keyword, Name, Number, Text
from sphinx.application import Sphinx

from docs._ext import outside
from docs._ext.mlir_lexer import MlirLexer, mark_outputs
from docs.check_site import faults_of

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

MLIR = """
#map = affine_map<(d0) -> (d0)>
module @dynamic {
  util.global private mutable @_value.global = dense<1.5> : tensor<2x?xf32>
  func.func @sum(%arg0: tensor<?xf32>, %arg1: !torch.vtensor<[?,3],f32>) -> i64 attributes {iree.abi = "x"} {
    %c0_i64:2 = arith.constant -4 : i64  // a comment
    cf.cond_br %0#1, ^bb1(%c0_i64 : i64), ^bb2
    ...
  }
}
"""


def tokens_of(text: str) -> dict[str, object]:
    return {value: kind for kind, value in MlirLexer().get_tokens(text) if value.strip()}


def test_mlir_is_coloured() -> None:
    kinds = tokens_of(MLIR)
    assert Error not in kinds.values()
    assert kinds["util.global"] is Name.Builtin
    assert kinds["@_value.global"] is Name.Function
    assert kinds["%c0_i64:2"] is Name.Variable
    assert kinds["2x?x"] is Number.Integer
    assert kinds["f32"] is Keyword.Type
    assert kinds["!torch.vtensor"] is Keyword.Type
    assert kinds["^bb1"] is Name.Label
    assert kinds["private"] is Keyword
    assert kinds["-4"] is Number.Integer
    assert Text not in kinds.values()


def test_modules_that_notebooks_print_are_coloured() -> None:
    document = new_document("notebook.md")
    texts = [MLIR, "module @loaded  # digits.vmfb\n  main(x: f32[4])\n", "module @m {\n}"]
    for text in texts:
        document += nodes.literal_block(text, text, classes=["output", "stream"], language="none")
    mark_outputs(Sphinx.__new__(Sphinx), document)
    assert [block["language"] for block in document.findall(nodes.literal_block)] == [
        "mlir",
        "none",
        "mlir",
    ]


def test_every_character_of_mlir_is_kept() -> None:
    assert "".join(value for _, value in MlirLexer(stripnl=False).get_tokens(MLIR)) == MLIR


def test_links_out_of_docs_lead_to_pages_of_the_site() -> None:
    page = DOCS / "jit.md"
    text = (
        "[llama](../examples/llama/README.md), [its code](../examples/llama/llama.py#L3),\n"
        "[changes](../CHANGELOG.md), [home](../README.md#two-commands), [tests](../tests/house),\n"
        "[state](state.md#forks), [IREE](https://iree.dev), `[code](../CHANGELOG.md)`\n"
        "```text\n[block](../CHANGELOG.md)\n```\n"
    )
    assert outside.with_links_of_site(text, page, page) == (
        "[llama](_generated/examples/llama.markdown), "
        "[its code](_generated/source/examples/llama/llama.py.markdown#L3),\n"
        "[changes](_generated/changelog.markdown), [home](index.md#two-commands), tests,\n"
        "[state](state.md#forks), [IREE](https://iree.dev), `[code](../CHANGELOG.md)`\n"
        "```text\n[block](../CHANGELOG.md)\n```\n"
    )


def test_links_of_a_document_outside_are_seen_from_its_page() -> None:
    readme = ROOT / "examples/llama/README.md"
    text = outside.with_links_of_site(
        "[state](../../docs/state.md)", readme, outside.page_of(readme)
    )
    assert text == "[state](../../state.md)"


def test_every_example_and_every_linked_source_has_a_page() -> None:
    examples = {path.parent.name for path in outside.outside_documents() if path.parent != ROOT}
    assert {"aot_mlp", "eager_mlp", "jit_train", "llama"} <= examples
    linked = list(outside.linked_sources(ROOT / "examples/llama/README.md"))
    assert ROOT / "examples/llama/llama.py" in linked
    assert "{literalinclude} ../../../../../examples/llama/llama.py" in outside.source_page(
        linked[0]
    )


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ('<a href="b.html#there">b</a><a href="#top">a</a>', None),
        ('<a href="c.html">c</a>', "a.html: dead link c.html"),
        ('<a href="b.html#gone">b</a>', "a.html: dead link b.html#gone"),
        ('<script src="https://cdn.example/x.js"></script>', "a.html: loads https://cdn.example/x.js from the network"),
        ('<link rel="stylesheet" href="x.css">', "a.html: loads x.css, which is not there"),
        ('<a href="https://iree.dev/x">x</a><link rel="author" href="https://iree.dev">', None),
    ],
)  # fmt: skip
def test_the_check_of_the_built_site(tmp_path: Path, body: str, fault: str | None) -> None:
    (tmp_path / "a.html").write_text(f'<p id="top"></p>{body}')
    (tmp_path / "b.html").write_text('<p id="there"></p>')
    assert faults_of(tmp_path) == ([] if fault is None else [fault])


def test_a_site_without_pages_is_a_fault(tmp_path: Path) -> None:
    assert faults_of(tmp_path) == [f"{tmp_path}: no pages"]
